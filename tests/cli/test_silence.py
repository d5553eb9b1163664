"""Outside a terminal there is a line at least every half a minute, which says what is waited for."""

from __future__ import annotations

import io
import threading

import pytest
from tests.support.clocks import Clock
from tests.support.push_run import PUSH

from ollama_push.cli.display import new_display
from ollama_push.cli.display.lines import SparseLines
from ollama_push.cli.display.silence import SilenceWatch
from ollama_push.core.errors import ConnectionLost
from ollama_push.core.events import LayerProgress, PushEvent, StatusChanged
from ollama_push.core.observations import AttemptFailed, EventSeen

LAYER = LayerProgress("sha256:3f3f", 1000, 400, "pushing 3f3f")


class Quiet:
    """A display whose clock is set, and what it wrote since it was last asked."""

    def __init__(self) -> None:
        self.clock, self.stream = Clock(0.0), io.StringIO()
        self.display = SparseLines(self.stream, PUSH.model, clock=self.clock)

    def see(self, event: PushEvent) -> None:
        self.display(EventSeen(PUSH, self.clock.now, event))

    def after(self, seconds: float) -> list[str]:
        before = self.stream.tell()
        self.clock.now += seconds
        self.display.break_silence()
        return self.stream.getvalue()[before:].splitlines()


def test_nothing_is_added_to_what_is_no_silence() -> None:
    quiet = Quiet()
    assert quiet.after(29.9) == []
    quiet.see(StatusChanged("pushing manifest"))
    assert quiet.after(29.9) == []


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], "the first response"),
        ([StatusChanged("pushing manifest")], "what follows 'pushing manifest'"),
        ([LAYER], "more of 3f3f, of which 400 B of 1.0 kB are there"),
        ([LayerProgress("sha256:3f3f", 1000, 1000, "pushing 3f3f")], "what follows 3f3f, all of which is there"),
    ],
)
def test_a_silence_is_broken_by_what_is_waited_for(events: list[PushEvent], text: str) -> None:
    quiet = Quiet()
    for event in events:
        quiet.see(event)
    assert quiet.after(30) == [f"waiting for {text}: no news for 30.0 s, 30.0 s so far"]
    assert quiet.after(15) == []
    assert quiet.after(15) == [f"waiting for {text}: no news for 1m00s, 1m00s so far"]


def test_repeated_counters_are_no_news() -> None:
    quiet = Quiet()
    quiet.see(LAYER)
    quiet.clock.now += 20
    quiet.see(LAYER)
    assert quiet.after(20)[0].endswith("are there: no news for 40.0 s, 40.0 s so far")


def test_a_retry_that_is_long_in_coming_is_named() -> None:
    quiet = Quiet()
    quiet.display(AttemptFailed(PUSH, 1.0, 1, ConnectionLost("http://h:1"), 120.0))
    assert quiet.after(40) == ["waiting for a retry, which was to come after 2m00s: no news for 40.0 s, 40.0 s so far"]


def test_it_is_looked_again_when_the_next_line_is_due() -> None:
    quiet = Quiet()
    assert quiet.display.break_silence() == 30
    quiet.clock.now = 10
    assert quiet.display.break_silence() == 20
    quiet.clock.now = 31
    assert quiet.display.break_silence() == 30


def test_a_watch_looks_until_it_is_stopped() -> None:
    looks, enough = 0, threading.Event()

    def look() -> float:
        nonlocal looks
        looks += 1
        if looks == 3:
            enough.set()
        return 0.0

    watch = SilenceWatch(look)
    assert enough.wait(60)
    watch.stop()
    after = looks
    watch.stop()
    assert looks == after


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_display_that_has_shown_the_outcome_has_no_thread_left(end: str, capfd: pytest.CaptureFixture[str]) -> None:
    display = new_display("lines", PUSH.model, None)
    assert [each.name for each in threading.enumerate()].count("ollama-push-silence") == 1
    if end == "failed":
        display.failed(ConnectionLost("http://h:1"))
    else:
        display.cancelled("cancelled")
    assert "ollama-push-silence" not in [each.name for each in threading.enumerate()]
    assert capfd.readouterr().err.count("\n") == 1
