"""What people see at a terminal: bars, the verdict, and the cursor again whatever happens."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.command import HERE, LAYER, NAME
from tests.support.command_direct import Home, at_home
from tests.support.terminals import BAR, HIDE, SHOW, Terminal, terminal

from ollama_push.testing.registry import Fault, Stall
from ollama_push.testing.server import Await, Hold, Script, ScriptedServer, chunk, lines_answer

pytestmark = pytest.mark.process

STARTED = lines_answer([LAYER % 40], end=False)


@contextmanager
def pushing(script: Script, columns: int = 80, *options: str, **changed: str) -> Iterator[Terminal]:
    with (
        ScriptedServer(script, answers=HERE) as server,
        terminal(columns, "push", NAME, "--host", server.url, *options, **changed) as screen,
    ):
        yield screen


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_gets_bars_and_the_verdict(columns: int) -> None:
    drawn = threading.Event()
    script = [*STARTED, Await(drawn, 20), chunk(LAYER % 100 + b'\n{"status":"success"}\n'), chunk(b"")]
    with pushing(script, columns) as screen:
        screen.read_until(" 40%")
        assert BAR in screen.screen
        assert "pushed" not in screen.screen
        drawn.set()
        assert screen.read_all() == 0
    assert f"pushed {NAME}:latest, 1 layer, 100 B" in screen.screen
    assert screen.screen.rindex(SHOW) > screen.screen.rindex(HIDE)


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_ctrl_c_shows_the_cursor_again(transport: str) -> None:
    with pushing([*STARTED, Hold()], 80, "--transport", transport) as screen:
        screen.read_until(" 40%")
        assert HIDE in screen.screen
        screen.process.send_signal(signal.SIGINT)
        assert screen.read_all() == 130
    assert screen.screen.rindex(SHOW) > screen.screen.rindex(HIDE)
    after = screen.screen[screen.screen.rindex(SHOW) :]
    assert "run the same command again to send the others" in after


def test_a_failure_leaves_the_bars_and_says_why_below_them() -> None:
    with pushing([*STARTED, chunk(b'{"error":"unauthorized: access denied"}\n'), chunk(b"")]) as screen:
        assert screen.read_all() == 6
    after = screen.screen[screen.screen.rindex(SHOW) :]
    assert "error: localhost:5000/a/b:latest: the push was refused: unauthorized: access denied" in after
    assert "100%" not in screen.screen


@pytest.mark.parametrize("surroundings", [{"TERM": "dumb"}, {"CI": "true"}, {"TERM": ""}])
def test_a_terminal_that_cannot_draw_gets_lines(surroundings: dict[str, str]) -> None:
    with pushing(lines_answer([LAYER % 40, b'{"status":"success"}']), 80, **surroundings) as screen:
        assert screen.read_all() == 0
    assert "\x1b" not in screen.screen
    assert screen.screen.startswith("pushing 49a7f1752a33 40 B of 100 B")


def test_no_color_draws_bars_without_colours() -> None:
    script = lines_answer([LAYER % 40, LAYER % 100, b'{"status":"success"}'])
    with pushing(script, 80, NO_COLOR="1") as screen:
        assert screen.read_all() == 0
    assert BAR in screen.screen
    colours = re.compile(r"\x1b\[[0-9;]*m")
    assert {code for code in colours.findall(screen.screen) if re.search(r"[34][0-9]|9[0-7]", code)} == set()


def test_quiet_leaves_a_terminal_alone() -> None:
    with pushing(lines_answer([b'{"status":"success"}']), 80, "-q") as screen:
        assert screen.read_all() == 0
    assert screen.screen == ""


def pushing_directly(home: Home, *options: str) -> list[str]:
    return ["push", home.name, *home.options, "--progress", "bar", *options]


def test_bars_of_a_direct_push_mark_what_is_there(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        with terminal(80, *pushing_directly(home), **home.variables) as screen:
            assert screen.read_all() == 0
        assert " there" not in screen.screen
        with terminal(80, *pushing_directly(home), **home.variables) as screen:
            assert screen.read_all() == 0
    assert " there " in screen.screen
    assert "8.0 kB already there, verified" in screen.screen
    assert screen.screen.rindex(SHOW) > screen.screen.rindex(HIDE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_direct_push_that_is_stopped_says_so_above_the_bars_and_shows_the_cursor_again(
    tmp_path: Path, number: signal.Signals
) -> None:
    slow = Fault("PATCH", times=None, after_bytes=500_000, action=Stall(0.4))
    with at_home(tmp_path, faults=[slow], large_bytes=5_000_000) as home:
        options = pushing_directly(home, "--part-size", "1MB")
        with terminal(80, *options, **home.variables) as screen:
            assert home.registry.wait_until(lambda: home.registry.received_bytes >= 500_000, 20)
            screen.process.send_signal(number)
            screen.read_until("press Ctrl-C again to cancel at once")
            assert screen.screen.rindex(HIDE) > screen.screen.rfind(SHOW)
            assert screen.read_all() == 130
    after = screen.screen[screen.screen.rindex(SHOW) :]
    assert "interrupted; the registry has " in after
    assert "push again to resume" in after
    assert "error" not in after


def test_sigterm_shows_the_cursor_again_in_a_push_through_a_server() -> None:
    with pushing([*STARTED, Hold()]) as screen:
        screen.read_until(" 40%")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.read_all() == 130
    assert screen.screen.rindex(SHOW) > screen.screen.rindex(HIDE)
