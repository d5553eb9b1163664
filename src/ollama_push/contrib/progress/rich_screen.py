"""The end of a terminal, where rich's pictures of all running pushes are drawn again and again.

Not ``rich.live``: it takes the script's stdout, allows one display at a time, and is lost when anybody else writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from rich.console import Console, Group, RenderableType

__all__ = ["Screen"]

# ECMA-48: cursor to the first column, erase to the end; cursor up; DECTCEM: hide and show the cursor.
_ERASE: Final = "\r\x1b[J"
_HIDE: Final = "\x1b[?25l"
_SHOW: Final = "\x1b[?25h"
_LEFT_FREE: Final = 2
"""Rows of the terminal: the one that others write in, and the one below the picture."""


class Screen:
    """The pictures on one stream, one below the other; all displays of a stream share its screen.

    Between two drawings the cursor waits in an empty row above the pictures. What others write goes there, a log line
    or the "^C" of a terminal, and the next drawing is below it: nothing of it is overwritten. A terminal that became
    narrower, and wrapped the rows, is no different.

    On what is no terminal, a picture is written once, at its end; in a notebook, it is drawn in place.
    """

    _of_streams: ClassVar[WeakKeyDictionary[Any, Screen]] = WeakKeyDictionary()
    _finding: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pictures: list[RenderableType] = []
        self._handles: dict[int, Any] = {}
        self._is_drawn = False

    @classmethod
    def of(cls, console: Console) -> Screen:
        """Return the screen of the stream that *console* writes to."""
        with cls._finding:
            return cls._of_streams.setdefault(console.file, cls())

    def add(self, console: Console, picture: RenderableType) -> None:
        """Show *picture* from the next drawing on."""
        with self._lock:
            self._pictures.append(picture)
            if console.is_jupyter:
                self._handles[id(picture)] = _display(picture)

    def draw(self, console: Console, picture: RenderableType) -> None:
        """Draw all pictures, of which *picture* has changed."""
        with self._lock:
            if (handle := self._handles.get(id(picture))) is not None:
                handle.update(picture)
            elif _can_draw(console):
                text = f"{self._erasure()}{_parked(_text(console, *self._pictures), console.height)}"
                self._is_drawn = True  # before it is: a signal may interrupt the write, and the cursor is hidden then
                self._write(console, text)

    def remove(self, console: Console, picture: RenderableType) -> None:
        """Leave *picture* as it is now, above those that are drawn further on."""
        with self._lock:
            self._pictures.remove(picture)
            if (handle := self._handles.pop(id(picture), None)) is not None:
                handle.update(picture)
                return
            self._write(console, f"{self._erasure()}{_text(console, picture)}{'' if self._pictures else self._shown()}")
            self._is_drawn = False
            if self._pictures:
                self.draw(console, picture)

    def write_above(self, console: Console, write: Callable[[], object]) -> None:
        """Let *write* write whole lines above the pictures."""
        with self._lock:
            if self._is_drawn:
                self._write(console, _ERASE)
            write()
            if self._is_drawn:
                self._write(console, _parked(_text(console, *self._pictures), console.height))

    def _erasure(self) -> str:
        return _ERASE if self._is_drawn else ""

    def _shown(self) -> str:
        return _SHOW if self._is_drawn else ""

    def _write(self, console: Console, text: str) -> None:
        console.file.write(text)
        console.file.flush()


def _can_draw(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows


def _text(console: Console, *pictures: RenderableType) -> str:
    with console.capture() as captured:
        console.print(Group(*pictures))
    return captured.get()


def _parked(text: str, height: int) -> str:
    """Return what draws the rows of *text*, as many as there is room for, and waits above them."""
    rows = text.split("\n")[:-1][: max(1, height - _LEFT_FREE)]
    return "".join([_HIDE, "\n", *(f"{row}\n" for row in rows), f"\x1b[{len(rows) + 1}A"])


def _display(picture: RenderableType) -> Any:
    """Show *picture* in a notebook, and return what changes it there; rich has no other way without ipywidgets."""
    # Only a notebook has it, and in its own environment.
    return import_module("IPython.display").display(picture, display_id=True)
