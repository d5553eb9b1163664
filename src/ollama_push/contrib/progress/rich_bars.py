"""Bars on a terminal, drawn by rich: one per layer, one for all, with speed and time left; of any width."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import attrs

from ollama_push.contrib.progress.hook import ExpectedBytes, ProgressHook
from ollama_push.core.messages import printable
from ollama_push.core.observations import PushContext, PushFinished
from ollama_push.core.progress import ProgressSnapshot
from ollama_push.core.registry.manifests import short_digest
from ollama_push.core.units import bytes_text, seconds_text, share_text, speed_text

try:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.constrain import Constrain
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
    from rich.table import Column
    from rich.text import Text

    from ollama_push.contrib.progress.rich_screen import Screen
except ImportError as _exc:
    raise ImportError("RichProgress needs: pip install 'ollama-push[cli]'") from _exc

__all__ = ["RichProgress"]

_ECHO: Final = 2
"""Columns left free at the right edge, because a terminal echoes "^C" at the cursor, which must not wrap the line."""
_GAP: Final = 1
_LEAST_NAME: Final = 16
_LEAST_BAR: Final = 10
_SHARE: Final = 4
# The optional columns, the most important one first, and their greatest widths: "59m59s left", "99.9 MB/s",
# "99.9 MB of 99.9 MB". Name, bar and share are always shown.
_FACTS: Final = (("left", 11), ("speed", 9), ("size", 18))
_IN_ORDER: Final = ("size", "speed", "left")


@attrs.define
class _Bars:
    """The bars of one push."""

    overall: TaskID
    layers: dict[str, TaskID] = attrs.field(factory=dict)


class RichProgress(ProgressHook):
    """Draws bars while pushes run; the last picture stays on the terminal.

    Nothing but the console is written to or replaced: stdout stays the script's. Several of these, also in several
    threads, share the terminal, and log lines of others stand above the bars.

    Args:
        console: Where to draw; default: stderr.
        min_interval: Seconds between two redraws.
        expected_bytes: Size of the push, or of each by canonical model name, if known.
        clock: Monotonic seconds, for rich's own animation.
    """

    def __init__(
        self,
        console: Console | None = None,
        min_interval: float = 0.1,
        *,
        expected_bytes: ExpectedBytes = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(min_interval, expected_bytes)
        self._console = Console(stderr=True) if console is None else console
        self._clock = clock
        self._lock = threading.Lock()
        self._bars: dict[PushContext, _Bars] = {}
        self._screen = Screen.of(self._console)
        self._drawing: _FittingProgress | None = None

    def begin(self, push: PushContext) -> None:
        with self._lock:
            if self._drawing is None:
                self._drawing = _FittingProgress(self._console, self._clock)
                self._screen.add(self._console, self._drawing)
            overall = self._drawing.add_task(printable(push.model), total=None, share="", size="", speed="", left="")
            self._bars[push] = _Bars(overall)

    def show(self, push: PushContext, now: ProgressSnapshot) -> None:
        with self._lock:
            bars = self._bars.get(push)
            if bars is None or self._drawing is None:
                return
            for layer in now.layers:
                task = bars.layers.get(layer.digest)
                if task is None:
                    name = f"  {printable(short_digest(layer.digest))}"
                    task = bars.layers[layer.digest] = self._drawing.add_task(
                        name, share="", size="", speed="", left=""
                    )
                shown = min(layer.completed_bytes, layer.total_bytes)
                # rich draws no full bar of zero, so an empty layer is one of one.
                self._drawing.update(
                    task,
                    total=layer.total_bytes or 1,
                    completed=shown if layer.total_bytes else 1,
                    share=f"{shown * 100 // layer.total_bytes if layer.total_bytes else 100}%",
                    size=bytes_text(layer.total_bytes),
                    speed="there" if layer.was_present else "",
                )
            self._drawing.update(
                bars.overall,
                total=now.total_bytes,
                completed=now.completed_bytes,
                share="" if now.fraction is None else share_text(now.fraction),
                size=_size(now),
                speed="" if now.bytes_per_second is None else speed_text(now.bytes_per_second),
                left=_time_left(now),
            )
            self._screen.draw(self._console, self._drawing)

    def end(self, seen: PushFinished) -> None:
        with self._lock:
            self._bars.pop(seen.push, None)
            if not self._bars and self._drawing is not None:
                self._screen.remove(self._console, self._drawing)
                self._drawing = None

    def write_above(self, write: Callable[[], object]) -> None:
        """Let *write* write whole lines to the console, above the bars."""
        self._screen.write_above(self._console, write)


def _size(now: ProgressSnapshot) -> str:
    if now.total_bytes is None:
        return bytes_text(now.completed_bytes)
    return f"{bytes_text(now.completed_bytes)} of {bytes_text(now.total_bytes)}"


def _time_left(now: ProgressSnapshot) -> str:
    if now.succeeded:
        return "done"
    return "? left" if now.eta_seconds is None else f"{seconds_text(now.eta_seconds)} left"


class _FittingProgress(Progress):
    """A picture of tasks with the fields ``share``, ``size``, ``speed`` and ``left``; it is never started.

    Columns without room are left out.
    """

    def __init__(self, console: Console, clock: Callable[[], float] | None) -> None:
        # No automatic refresh, so that rich starts no thread.
        super().__init__(console=console, auto_refresh=False, expand=True, get_time=clock)

    def get_renderable(self) -> RenderableType:
        return _Fitted(self)


@attrs.frozen
class _Fitted:
    """The tasks of *progress* in the width that the console has now."""

    progress: Progress

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw them."""
        width = max(1, options.max_width - _ECHO)
        self.progress.columns = _columns(width, ellipsis="..." if options.ascii_only else "\N{HORIZONTAL ELLIPSIS}")
        yield Constrain(self.progress.make_tasks_table(self.progress.tasks), width)


class _Name(ProgressColumn):
    """The end of a name that is too long: the model is there, and the host is at the beginning."""

    def __init__(self, room: int, ellipsis: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._room = room
        self._ellipsis = ellipsis

    def render(self, task: Task) -> Text:
        name, left = task.description, self._room - len(self._ellipsis)
        return Text(name if len(name) <= self._room else f"{self._ellipsis}{name[-left:]}")


def _columns(width: int, ellipsis: str) -> tuple[ProgressColumn, ...]:
    room = max(_LEAST_NAME, width // 4)
    left = width - room - _LEAST_BAR - _SHARE - 2 * _GAP
    shown = []
    for key, wanted in _FACTS:
        left -= wanted + _GAP
        if left < 0:
            break
        shown.append(key)
    facts = [
        TextColumn(f"{{task.fields[{key}]}}", markup=False, justify="right", table_column=Column(no_wrap=True))
        for key in _IN_ORDER
        if key in shown
    ]
    return (
        _Name(room, ellipsis),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[share]:>4}", markup=False),
        *facts,
    )
