"""Displays of many pushes: one bar or line for all of them, and one line for each verdict; JSON of each push."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol, TextIO

import attrs

from ollama_push.cli.display import Display, is_capable_terminal, new_display
from ollama_push.cli.display.streams import steady, write_line
from ollama_push.cli.messages import MessageFormatter, failure_line
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import InvalidModelName, OllamaPushError
from ollama_push.core.messages import printable
from ollama_push.core.observations import EventSeen, Observation, PushContext, PushFinished, PushStarted
from ollama_push.core.progress import PushProgress
from ollama_push.core.units import bytes_text, speed_text

__all__ = ["ManyDisplay", "new_many_display"]

_DRAW_EVERY_SECONDS: Final = 0.1
_LINE_EVERY_SECONDS: Final = 5.0


class ManyDisplay(Protocol):
    """Shows many pushes; a hook, called by the threads of all of them."""

    def __call__(self, seen: Observation, /) -> None:
        """Take an observation."""

    def add(self, verdict: PushVerdict) -> None:
        """Show a verdict."""

    def close(self) -> None:
        """End the bar."""


def new_many_display(choice: str, total: int, words: MessageFormatter, origins: Mapping[PushItem, str]) -> ManyDisplay:
    """Return the display for *total* pushes: JSON on stdout, everything else on stderr.

    A name that is illegal is shown with its origin, such as the line of a list.
    """
    lines = _VerdictLines(words, origins)
    if choice == "auto":
        choice = "bar" if is_capable_terminal() else "lines"
    match choice:
        case "bar":
            return _Bar(sys.stderr, total, lines)
        case "lines":
            return _Lines(sys.stderr, total, lines)
        case "json":
            return _Json(words)
        case _:
            return _Errors(sys.stderr, lines)


@attrs.frozen
class _VerdictLines:
    """Says each verdict in one line."""

    _words: MessageFormatter
    _origins: Mapping[PushItem, str]

    def of(self, verdict: PushVerdict) -> str:
        """Return the line of *verdict*."""
        if verdict.receipt is not None:
            return str(verdict.receipt)
        if not isinstance(verdict.error, OllamaPushError):
            return f"error: {verdict.item.model}: {verdict.error!r}"
        line = failure_line(verdict.item.model, verdict.error, self._words)
        origin = self._origins.get(verdict.item) if isinstance(verdict.error, InvalidModelName) else None
        return f"{line} ({origin})" if origin else line


@attrs.define
class _Tally:
    """What all pushes of a run have done so far.

    Attributes:
        total: How many models there are.
        done: How many have a verdict.
        moved: Bytes of pushes that have ended.
        running: The others that have begun.
    """

    total: int
    done: int = 0
    moved: int = 0
    running: dict[PushContext, PushProgress] = attrs.field(factory=dict)
    _began: float = attrs.field(factory=time.monotonic)

    def receive(self, seen: Observation) -> bool:
        """Take *seen*; return whether a number may have changed."""
        match seen:
            case PushStarted(push):
                self.running[push] = PushProgress(None, push.model)
            case EventSeen(push, elapsed, event) if push in self.running:
                return self.running[push].receive_event(event, elapsed)
            case PushFinished(push):
                progress = self.running.pop(push, None)
                self.moved += progress.moved_bytes if progress is not None else 0
            case _:
                return False
        return True

    @property
    def text(self) -> str:
        """One line for all of it."""
        moved = self.moved + sum(progress.moved_bytes for progress in self.running.values())
        speed = speed_text(moved / max(time.monotonic() - self._began, 0.001))
        return f"{self.done} of {self.total} models, {bytes_text(moved)} sent, {speed}"


class _Errors:
    """Shows errors only."""

    def __init__(self, stream: TextIO, lines: _VerdictLines) -> None:
        self._stream = stream
        self._verdict_lines = lines

    def __call__(self, seen: Observation, /) -> None:
        """Ignore *seen*."""

    def add(self, verdict: PushVerdict) -> None:
        if verdict.error is not None:
            write_line(self._stream, self._verdict_lines.of(verdict))

    def close(self) -> None:
        """End nothing."""


class _Lines:
    """Writes a line for each verdict, and one for all every few seconds."""

    def __init__(self, stream: TextIO, total: int, lines: _VerdictLines) -> None:
        self._stream = stream
        self._verdict_lines = lines
        self._tally = _Tally(total)
        self._lock = threading.Lock()
        self._written_at = time.monotonic()

    def __call__(self, seen: Observation, /) -> None:
        with self._lock:
            if self._tally.receive(seen) and time.monotonic() - self._written_at >= _LINE_EVERY_SECONDS:
                self._write(self._tally.text)

    def add(self, verdict: PushVerdict) -> None:
        with self._lock:
            self._tally.done += 1
            self._write(self._verdict_lines.of(verdict))

    def close(self) -> None:
        """End nothing."""

    def _write(self, text: str) -> None:
        self._written_at = time.monotonic()
        write_line(self._stream, text)


class _Bar:
    """Draws one bar for all models, with a line above it for each verdict."""

    def __init__(self, stream: TextIO, total: int, lines: _VerdictLines) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        from ollama_push.contrib.progress.rich_screen import Screen

        self._verdict_lines = lines
        self._tally = _Tally(total)
        self._lock = threading.Lock()
        self._drawn_at = 0.0
        self._console = Console(file=steady(stream))
        self._screen = Screen.of(self._console)
        # It is never started: the screen draws it, below what others write.
        self._picture = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
            auto_refresh=False,
            expand=True,
        )
        self._task = self._picture.add_task("", total=total, text=self._tally.text)
        self._screen.add(self._console, self._picture)
        self._draw()

    def __call__(self, seen: Observation, /) -> None:
        with self._lock:
            if self._tally.receive(seen) and time.monotonic() - self._drawn_at >= _DRAW_EVERY_SECONDS:
                self._draw()

    def add(self, verdict: PushVerdict) -> None:
        text = printable(self._verdict_lines.of(verdict))
        style = None if verdict.error is None else "red"
        with self._lock:
            self._tally.done += 1
            # soft_wrap: the terminal wraps lines instead of rich, so that a copied address has no line break in it.
            write = partial(self._console.print, text, style=style, markup=False, highlight=False, soft_wrap=True)
            self._screen.write_above(self._console, write)
            self._draw()

    def close(self) -> None:
        with self._lock:
            self._draw()
            self._screen.remove(self._console, self._picture)

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        shares = sum(progress.snapshot(0.0).fraction or 0.0 for progress in self._tally.running.values())
        completed = min(self._tally.total, self._tally.done + shares)
        self._picture.update(self._task, completed=completed, text=self._tally.text)
        self._screen.draw(self._console, self._picture)


class _Json:
    """Writes the objects of each push, as if it were alone; each names its model."""

    def __init__(self, words: MessageFormatter) -> None:
        self._words = words
        self._lock = threading.Lock()
        self._displays: dict[str, Display] = {}

    def __call__(self, seen: Observation, /) -> None:
        with self._lock:
            self._of(seen.push.model)(seen)

    def add(self, verdict: PushVerdict) -> None:
        with self._lock:
            display = self._of(verdict.item.model)
            if verdict.receipt is not None:
                display.succeeded(verdict.receipt)
            elif isinstance(verdict.error, OllamaPushError):
                display.failed(verdict.error)
            del self._displays[verdict.item.model]

    def close(self) -> None:
        """End nothing."""

    def _of(self, model: str) -> Display:
        if model not in self._displays:
            self._displays[model] = new_display("json", model, None, self._words)
        return self._displays[model]
