"""Our errors in a real server's words: whoever reads Ollama's texts reads the same reason in ours."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from tests.support.every_error import EVERY_ERROR, MESSAGES, said

from ollama_push.core.errors import InvalidModelName, OllamaPushError, PushRejected, RejectionReason, ServerError
from ollama_push.core.facts import (
    ForbiddenAddress,
    Operation,
    PlaceFailed,
    RefusedRequest,
    StoreDamaged,
    StoreProblem,
    UnusableResponse,
)
from ollama_push.core.names import ModelName
from ollama_push.core.server.reasons import reason_for
from ollama_push.gateway.messages import error_text, name_text

R = RejectionReason
TARGET = ModelName.parse("registry.example.com/team/demo:v1")
ROOT = Path("/models")
HEX = "ab" * 32
ADDRESS = "https://registry.example.com"


_ROWS = list(zip(EVERY_ERROR, json.loads(MESSAGES.read_text("utf-8")), strict=True))


@pytest.mark.parametrize(("error", "texts"), _ROWS)
def test_every_error_is_said_to_each_audience_as_the_table_has_it(
    error: OllamaPushError, texts: dict[str, str]
) -> None:
    assert said(error) == texts


# What a real server has no words for: its own reasons are for what an Ollama server says.
_WITHOUT_WORDS = (UnusableResponse, ForbiddenAddress, PlaceFailed)
_READ_BACK = [
    error
    for error in EVERY_ERROR
    if isinstance(error, PushRejected)
    and not isinstance(error.facts, _WITHOUT_WORDS)
    and not (isinstance(error.facts, StoreDamaged) and error.facts.problem is StoreProblem.BLOB_CHANGED)
]


@pytest.mark.parametrize("error", _READ_BACK)
def test_a_client_reads_the_reason_that_the_push_ended_with(error: PushRejected) -> None:
    assert reason_for(error_text(error, TARGET, ROOT)) is error.reason


@pytest.mark.parametrize(
    "words", ["connection refused", "unauthorized: access denied", "file does not exist", "507: x"]
)
@pytest.mark.parametrize("status", [307, 400, 409, 413, 422, 501, 507])
def test_what_a_registry_says_decides_no_reason(words: str, status: int) -> None:
    error = PushRejected(words, R.of_status(status), RefusedRequest(Operation.SEND_PART, status, subject="sha256:ab"))
    text = error_text(error, TARGET, ROOT)
    assert text == f"{status}: {words} (sending a part of sha256:ab)"
    assert reason_for(text) is R.of_status(status)


def test_what_looks_like_a_secret_is_hidden_in_every_text_and_a_name_is_shown() -> None:
    for name, shown in (("/etc/passwd", "!MISSING!/etc/passwd:latest"), ("https://me:pw@h/a/b c", "<hidden>@h/a/b c")):
        with pytest.raises(InvalidModelName) as caught:
            ModelName.parse(name)
        text = name_text(name, caught.value)
        assert shown in text
        assert "pw" not in text.replace("passwd", "")


def test_an_error_that_was_tried_again_says_so() -> None:
    error = ServerError(502, "sending: Bad Gateway")
    error.attempts = 4
    assert error_text(error, TARGET, ROOT) == "max retries exceeded: http status 502 Bad Gateway: sending: Bad Gateway"
    unknown = attrs.evolve(error, status=599)
    unknown.attempts = 2
    assert error_text(unknown, TARGET, ROOT).startswith("max retries exceeded: http status 599 : ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/b/c/d/e:x", "unqualified name: a/b/c/d/e:x"),
        ("-bad/x", "unqualified name: registry.ollama.ai/-bad/x:latest"),
        ("a/", "unqualified name: registry.ollama.ai/a/!MISSING!:latest"),
        ("/a/b:", "unqualified name: !MISSING!/a/b:!MISSING!"),
        ("https:///a/b", "unqualified name: !MISSING!/a/b:latest"),
        ("", "unqualified name: registry.ollama.ai/library/!MISSING!:latest"),
        ("my-llama", "unqualified name: registry.ollama.ai/library/my-llama:latest (a push needs a namespace"),
    ],
)
def test_a_name_is_refused_in_a_real_servers_words(name: str, text: str) -> None:
    with pytest.raises(InvalidModelName) as refused:
        ModelName.parse(name)
    assert name_text(name, refused.value).startswith(text)
    assert reason_for(text) is R.INVALID_NAME


def test_presigned_urls_do_not_show() -> None:
    words = "https://s3.example.com/x?X-Amz-Signature=abc"
    error = PushRejected(words, R.REGISTRY_REFUSED, RefusedRequest(Operation.SEND_PART, 400))
    assert "abc" not in error_text(error, TARGET, ROOT)
