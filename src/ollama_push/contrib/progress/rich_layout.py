"""Fits rich's bars to a terminal of any width, also when it is made narrower while the bars are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.constrain import Constrain
from rich.control import Control
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.segment import ControlType
from rich.table import Column
from rich.text import Text

__all__ = ["FittingProgress"]

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


class FittingProgress(Progress):
    """Draws tasks with the fields ``share``, ``size``, ``speed`` and ``left``; columns without room are left out.

    Args:
        console: Where to draw.
        clock: Monotonic seconds, for rich's own animation.
    """

    def __init__(self, console: Console, clock: Callable[[], float] | None) -> None:
        # No automatic refresh, so that rich starts no thread.
        super().__init__(console=console, auto_refresh=False, expand=True, get_time=clock)
        self._hook = _Unwrapper(self)

    def start(self) -> None:
        """Begin to draw."""
        # Before rich pushes its own hook, because ``Live.stop`` pops the last one (rich 15.0).
        self.console.push_render_hook(self._hook)
        super().start()

    def stop(self) -> None:
        """Draw for the last time."""
        try:
            super().stop()
        finally:
            self.console.pop_render_hook()

    def get_renderable(self) -> RenderableType:
        """Return the bars, which fit the width of the console when they are printed."""
        return _Fitting(self)


class _Fitting:
    """The tasks as a table, with the columns that have room."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - _ECHO)
        self._progress.columns = _columns(width)
        yield Constrain(self._progress.make_tasks_table(self._progress.tasks), width)


class _Unwrapper(RenderHook):
    """Erases the rows into which a terminal that became narrower wrapped the lines of the last picture."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._width = 0
        self._lines = 0

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        console = self._progress.console
        size = console.size
        drawn = self._width - _ECHO
        rows = self._lines * (-(-drawn // max(1, size.width)) - 1) if self._lines and drawn > size.width else 0
        self._width = size.width
        self._lines = min(len(self._progress.tasks), size.height)
        if not rows:
            return renderables
        # rich moves up by the number of lines it wrote; the wrapped rows are above that.
        above = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * min(rows, size.height)
        return [Control(*above), *renderables]


class _Name(ProgressColumn):
    """The end of a name that is too long: the model is there, and the host is at the beginning."""

    def __init__(self, room: int) -> None:
        super().__init__(Column(no_wrap=True))
        self._room = room

    def render(self, task: Task) -> Text:
        name = task.description
        return Text(name if len(name) <= self._room else f"\N{HORIZONTAL ELLIPSIS}{name[1 - self._room :]}")


def _columns(width: int) -> tuple[ProgressColumn, ...]:
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
    return (_Name(room), BarColumn(bar_width=None), TextColumn("{task.fields[share]:>4}", markup=False), *facts)
