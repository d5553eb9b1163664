"""The words of ``str(error)``; those of the command and of the gateway are tested beside theirs."""

from __future__ import annotations

import json

import pytest
from tests.support.every_error import EVERY_ERROR, MESSAGES

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.messages import joined, plain_words, printable

_PYTHON = [row["python"] for row in json.loads(MESSAGES.read_text("utf-8"))]
_ROWS = list(zip(EVERY_ERROR, _PYTHON, strict=True))


@pytest.mark.parametrize(("error", "text"), _ROWS)
def test_every_error_is_said_as_the_table_has_it(error: OllamaPushError, text: str) -> None:
    assert str(error) == text


def test_somebody_elses_error_is_said_by_its_arguments() -> None:
    assert str(OllamaPushError()) == ""


def test_only_what_there_is_is_joined() -> None:
    assert joined("a", "", "b") == "a; b"
    assert joined("a", "b", by=": ") == "a: b"


def test_openssl_says_its_words_without_places_in_its_source() -> None:
    assert plain_words("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)") == "wrong version number"


def test_control_characters_and_line_ends_are_escaped() -> None:
    assert printable("plain, ümläut") == "plain, ümläut"
    assert printable("a\x1b[2Jb\nc\u202e\udc00") == r"a\x1b[2Jb\nc\u202e\udc00"
