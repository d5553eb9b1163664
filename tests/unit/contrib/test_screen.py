"""Bars beside what others write: the script's own output, log lines, other bars; on a real emulation of a terminal."""

from __future__ import annotations

import io
import logging
import sys
import threading

import pyte
import pytest
from rich.console import Console
from tests.support.push_run import Driven, tick

from ollama_push.contrib.logs import LogHook
from ollama_push.contrib.progress import RichProgress
from ollama_push.core.observations import EventSeen, Observation

SUCCESS = b'{"status":"success"}\n'


class Shown(io.StringIO):
    """A terminal of 100 columns, as a person sees it; its line discipline adds a return to each newline."""

    def __init__(self, rows: int = 24) -> None:
        super().__init__()
        self.terminal = pyte.Screen(100, rows)
        self._stream = pyte.Stream(self.terminal)

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        found = [line.rstrip() for line in self.terminal.display]
        return found[: max((number for number, line in enumerate(found, 1) if line), default=0)]


@pytest.fixture
def shown() -> Shown:
    return Shown()


def bars(shown: Shown) -> RichProgress:
    console = Console(file=shown, force_terminal=True, color_system=None, legacy_windows=False, width=100, _environ={})
    return RichProgress(console, 0.0, expected_bytes=100, clock=lambda: 0.0)


def test_the_scripts_own_streams_are_left_alone(shown: Shown) -> None:
    streams = sys.stdout, sys.stderr
    run = Driven(hooks=[bars(shown)])
    run.begin()
    run.feed(tick(40))
    assert (sys.stdout, sys.stderr) == streams
    run.feed(tick(100) + SUCCESS)


def test_log_lines_stand_above_the_bars_whole(shown: Shown) -> None:
    logger = logging.Logger("test", logging.DEBUG)  # noqa: LOG001 - nobody else's
    logger.addHandler(logging.StreamHandler(shown))
    lines: list[str] = []

    def remember(seen: Observation) -> None:
        if isinstance(seen, EventSeen):
            lines.append(shown.lines[-2].split()[0])

    run = Driven(hooks=[LogHook(logger), bars(shown), remember])
    run.begin()
    run.feed(tick(40) + tick(80))
    logger.info("one line of another's")
    run.feed(tick(100) + SUCCESS)
    assert set(lines) == {"myuser/my-llama:latest"}
    *logged, overall, layer = shown.lines
    assert overall.startswith("myuser/my-llama:latest")
    assert overall.endswith("done")
    assert layer.startswith("  ")
    assert "one line of another's" in logged
    assert not [line for line in logged if "%" in line], "no bar is left behind"
    assert "attempt 1 started" in logged
    assert any(line.startswith("pushed myuser/my-llama:latest, 100 bytes") for line in logged)


def test_a_terminals_echo_goes_above_the_bars(shown: Shown) -> None:
    run = Driven(hooks=[bars(shown)])
    run.begin()
    run.feed(tick(40))
    shown.write("^C")
    run.feed(tick(60))
    assert [line.split()[0] for line in shown.lines if line] == ["myuser/my-llama:latest", "a"]
    run.run.close()


def test_two_displays_in_two_threads_share_the_terminal(shown: Shown) -> None:
    first, second = bars(shown), bars(shown)
    began, go_on = threading.Event(), threading.Event()

    def push(hook: RichProgress, *, first: bool) -> None:
        run = Driven(hooks=[hook])
        run.begin()
        run.feed(tick(40, 100, "sha256:a" if first else "sha256:b"))
        if first:
            began.set()
            assert go_on.wait(60)
        run.feed(tick(100, 100, "sha256:a" if first else "sha256:b") + SUCCESS)

    other = threading.Thread(target=push, args=(first,), kwargs={"first": True})
    other.start()
    assert began.wait(60)
    run = Driven(hooks=[second])
    run.begin()
    run.feed(tick(60, 100, "sha256:b"))
    both = [line.split()[0] for line in shown.lines if line]
    go_on.set()
    other.join(60)
    half = [line.split()[0] for line in shown.lines if line]
    assert shown.terminal.cursor.hidden
    run.feed(tick(100, 100, "sha256:b") + SUCCESS)
    assert both == ["myuser/my-llama:latest", "a", "myuser/my-llama:latest", "b"]
    assert half == both, "what has ended stays, and the other is drawn below it"
    assert [line.endswith("done") for line in shown.lines if line.startswith("my")] == [True, True]
    assert not shown.terminal.cursor.hidden
    assert shown.terminal.cursor.y == 4


def test_a_display_that_ends_shows_the_cursor_on_the_row_below(shown: Shown) -> None:
    run = Driven(hooks=[bars(shown)])
    run.begin()
    run.feed(tick(40))
    assert (shown.terminal.cursor.hidden, shown.terminal.cursor.y, shown.terminal.cursor.x) == (True, 0, 0)
    run.feed(tick(100) + SUCCESS)
    assert (shown.terminal.cursor.hidden, shown.terminal.cursor.y, shown.terminal.cursor.x) == (False, 2, 0)
    assert len(shown.lines) == 2


def test_bars_at_the_end_of_a_full_terminal_scroll_it_and_find_back() -> None:
    shown = Shown(rows=6)
    for number in range(10):
        shown.write(f"line {number}\n")
    run = Driven(hooks=[bars(shown)])
    run.begin()
    for number in range(3):
        run.feed(tick(40 + number))
    run.feed(tick(100) + SUCCESS)
    assert [line.split()[0] for line in shown.lines] == ["line", "line", "myuser/my-llama:latest", "a"]
