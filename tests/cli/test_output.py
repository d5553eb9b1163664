"""Output that lacks characters, is full or closed, or has a reader that leaves: the verdict of every command counts."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest
from tests.support.command import NAME, command, environment
from tests.support.command_direct import Home, at_home

from ollama_push.testing.server import Script, ScriptedServer, json_answer, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process]

FULL: Final = Path("/dev/full")
# In none of the encodings; the terminal of nobody has all of them.
ODD: Final = "m\N{LATIN SMALL LETTER O WITH DIAERESIS}del-\N{CJK UNIFIED IDEOGRAPH-6F22}-\N{ROCKET}"
TAGS: Final = json_answer(b'{"models":[{"name":"localhost:5000/a/b:latest","size":100}]}')
HERE: Final[dict[str, Script]] = {"/api/version": json_answer(f'{{"version":"{ODD}"}}'.encode()), "/api/tags": TAGS}
PUSHED: Final = lines_answer([f'{{"status":"{ODD}"}}'.encode(), b'{"status":"success"}'])
REFUSED: Final = lines_answer([f'{{"error":"unauthorized: {ODD}"}}'.encode()])


@attrs.frozen
class Stage:
    """A home whose folder has an odd name, and an Ollama server that says odd things."""

    home: Home
    url: str

    def words(self, line: str) -> list[str]:
        """Return the command line of *line*, in which names stand for places."""
        places = {"NAME": self.home.name, "URL": self.url, "ODD": str(self.home.folder / f"{ODD}-more")}
        return [places.get(word, word) for word in line.split()]

    def run(
        self, line: str, *, redirection: str = "", code: str = "utf-8", **changed: str
    ) -> subprocess.CompletedProcess[bytes]:
        words = shlex.join(command(*self.words(line)))
        variables = {**self.home.variables, "PYTHONIOENCODING": code, **changed}
        return subprocess.run(
            ["/bin/sh", "-c", f"{words} {redirection}"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, env=environment(**variables),
        )  # fmt: skip


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    folder = tmp_path / ODD
    folder.mkdir()
    with at_home(folder) as home, ScriptedServer(PUSHED, answers=HERE) as server:
        yield Stage(home, server.url)


# Each with its exit code, and whether it writes to stdout what it was run for.
COMMANDS: Final = [
    (f"check {NAME} --host URL", 0, True),
    (f"check {NAME} --host URL --progress json", 0, True),
    ("check NAME --direct --plain-http --from my-llama", 0, True),
    ("check NAME --direct --plain-http --from nope", 7, True),
    (f"push {NAME} --host URL", 0, False),
    (f"push {NAME} --host URL --progress bar", 0, False),
    (f"push {NAME} --host URL --progress json", 0, False),
    (f"push {NAME} --host URL -vv", 0, False),
    ("push NAME --direct --plain-http --from my-llama", 0, False),
    ("push NAME --direct --plain-http --from nope", 7, False),
    ("verify NAME --plain-http", 10, False),
    ("verify NAME --plain-http --progress json", 10, True),
    ("testmodel tiny --models ODD", 0, False),
    ("login NAME", 2, False),
    ("logout 127.0.0.1:1", 0, False),
    ("serve --models ODD", 2, False),
    ("completion bash", 0, True),
    ("--version", 0, True),
    ("--help", 0, True),
    ("nope", 2, False),
]
VERDICTS: Final = [each[:2] for each in COMMANDS]


@pytest.mark.parametrize(("line", "expected"), VERDICTS)
def test_a_narrow_encoding_changes_no_verdict(line: str, expected: int, stage: Stage) -> None:
    done = stage.run(line, code="ascii:strict")
    assert done.returncode == expected, done.stderr
    assert b"Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize(
    ("code", "shown"),
    [("ascii:strict", rb"m\xf6del-\u6f22-\U0001f680"), ("cp1252:strict", b"m\xf6del" + rb"-\u6f22-\U0001f680")],
)
def test_what_an_encoding_lacks_is_escaped(code: str, shown: bytes, stage: Stage) -> None:
    done = stage.run(f"check {NAME} --host URL", code=code)
    assert done.stdout.splitlines()[0] == b"server: Ollama " + shown


def test_bars_of_an_encoding_without_their_characters_are_made_of_others(stage: Stage) -> None:
    done = stage.run(f"push {NAME} --host URL --progress bar", code="ascii:strict", TERM="xterm")
    assert (done.returncode, b"\\u2501" in done.stderr) == (0, False)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("line", "expected", "reports", "buffering"),
    [
        *((*each, "") for each in COMMANDS),
        *((*each, "1") for each in COMMANDS if each[0] in ("--help", "completion bash")),
    ],
)
def test_a_full_stdout_is_told_where_it_was_what_the_command_was_for(
    line: str, expected: int, reports: bool, buffering: str, stage: Stage  # noqa: FBT001 - a table
) -> None:  # fmt: skip
    done = stage.run(line, redirection=f">{FULL}", PYTHONUNBUFFERED=buffering)
    assert done.returncode == (2 if reports else expected), done.stderr
    assert (b"error: the output cannot be written: No space left on device" in done.stderr) is reports
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("redirection", "line", "expected"),
    [
        *((f"2>{FULL}", *each) for each in VERDICTS),
        (">&- 2>&-", f"check {NAME} --host URL", 0),
        (">&- 2>&-", "verify NAME --plain-http --progress json", 10),
    ],
)
def test_output_that_goes_nowhere_changes_no_verdict(redirection: str, line: str, expected: int, stage: Stage) -> None:
    done = stage.run(line, redirection=redirection)
    assert done.returncode == expected, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("line", "expected"), [each[:2] for each in COMMANDS if each[2]])
def test_a_reader_that_leaves_early_changes_no_verdict(line: str, expected: int, stage: Stage) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            command(*stage.words(line)), stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE, timeout=60,
            check=False, env=stage.home.variables,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, b"Traceback" in done.stderr) == (expected, False), done.stderr


def test_a_failure_with_json_is_one_line_for_people_too(stage: Stage) -> None:
    with ScriptedServer(REFUSED, answers=HERE) as server:
        done = Stage(stage.home, server.url).run(f"push {NAME} --host URL --progress json")
    assert done.returncode == 6
    assert done.stdout.splitlines()[-1].startswith(b'{"event":"failed"')
    assert done.stderr.decode().splitlines() == [
        f"error: {NAME}:latest: the push was refused: unauthorized: {ODD}",
    ]
