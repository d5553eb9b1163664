"""Writes to streams whose reader may close them: the push continues without its display."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TextIO, cast

__all__ = ["steady", "tell", "write_whole"]


def write_whole(stream: TextIO, text: str) -> OSError | None:
    """Write *text* in one piece; if that fails, redirect *stream* to the null device.

    Returns:
        Why it failed, or ``None``.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as exc:
        with suppress(io.UnsupportedOperation):
            # The interpreter flushes the buffered text at its end, which would fail again.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        return exc
    return None


def tell(stream: TextIO, text: str) -> None:
    """Write *text* as a line of its own, also on a terminal that has "^C" at the beginning of the line."""
    write_whole(stream, f"\n{text}\n" if stream.isatty() else f"{text}\n")


def steady(stream: TextIO) -> TextIO:
    """Return *stream* with writes that do not fail, for a library that draws on it."""
    return cast("TextIO", _Steady(stream))


class _Steady(io.TextIOBase):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute there
        return self._stream.encoding

    def write(self, text: str) -> int:
        write_whole(self._stream, text)
        return len(text)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
