"""Each exit code of the page on errors, from a real process."""

import re
import signal
from pathlib import Path

import pytest
from tests.support.command import HERE, LAYER, NAME, push, running

from ollama_push.cli.exit_codes import BUG, EXIT_CODES
from ollama_push.core import errors
from ollama_push.testing.server import Hold, Pause, Reset, Script, ScriptedServer, lines_answer

pytestmark = pytest.mark.process

STARTED = lines_answer([LAYER % 40], end=False)
QUIET = ("--stall-timeout", "0.3")
# Half a minute of lines; the stall is found long before.
IDLE = [*STARTED, *(step for _ in range(600) for step in (Pause(0.05), lines_answer([LAYER % 40], end=False)[1]))]

ENDINGS: list[tuple[str, Script, tuple[str, ...], int, str]] = [
    ("lost", [*STARTED, Reset()], (), 4, "broke before the response was complete"),
    ("silent", [*STARTED, Hold()], QUIET, 9, "was silent for 0.3 s (read)"),
    ("stalled", IDLE, QUIET, 9, "no bytes moved"),
]


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
@pytest.mark.parametrize(("script", "more", "code", "text"), [pytest.param(*row[1:], id=row[0]) for row in ENDINGS])
def test_an_ending_in_mid_answer_has_its_exit_code(
    script: Script, more: tuple[str, ...], code: int, text: str, transport: str
) -> None:
    done = push(script, "--transport", transport, *more)
    assert done.returncode == code
    assert text in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_ctrl_c_exits_with_130_on_every_transport(transport: str) -> None:
    with (
        ScriptedServer([*STARTED, Hold()], answers=HERE) as server,
        running("push", NAME, "--host", server.url, "--transport", transport) as process,
    ):
        assert process.stderr is not None
        assert process.stderr.readline().startswith("pushing 49a7f1752a33")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(10) == 130
        assert server.peer_closed.wait(5)
    # Nothing but a line break after the terminal's "^C" before it.
    assert said.strip().count("\n") == 0
    assert "run the same command again to send the others" in said


def test_a_retry_is_told_and_ends_well() -> None:
    with (
        ScriptedServer(
            [*STARTED, Reset()], lines_answer([LAYER % 100, b'{"status":"success"}']), answers=HERE
        ) as server,
        running("push", NAME, "--host", server.url) as process,
    ):
        _out, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "; retrying in " in said
    assert "\nattempt 2\n" in said
    assert "after 2 attempts" in said.splitlines()[-1]


def test_the_page_on_errors_says_the_exit_codes_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "errors.md").read_text("utf-8")
    said = {
        name: int(code)
        for names, code in re.findall(r"^\| (`[A-Z].*?) \|.*\| (\d+)[^|]*\|$", text, re.MULTILINE)
        for name in re.findall(r"`([A-Z]\w+)`", names)
        if name not in ("ValueError", "TimeoutError", "RuntimeError", "ProtocolError", "TransportError")
    }
    assert len(said) >= len(EXIT_CODES)
    for name, code in said.items():
        error = getattr(errors, name)
        assert next((number for kind, number in EXIT_CODES if issubclass(error, kind)), BUG) == code, name
