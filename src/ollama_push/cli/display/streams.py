"""The one way to the terminal: what the command writes is escaped here, because a peer may have said it.

The reader of a stream may close it: the push continues without its display.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

from ollama_push.core.messages import printable

__all__ = ["escape_unencodable", "log_handler", "report", "say", "steady", "tell", "write_line", "write_whole"]


def escape_unencodable(stream: TextIO) -> None:
    """Have *stream* write characters that its encoding lacks as escapes, as Python's stderr does, and not raise."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def write_whole(stream: TextIO, text: str) -> OSError | None:
    """Write *text* as it is and in one piece; if that fails, redirect *stream* to the null device.

    For JSON in ASCII and for the control sequences of the bars; :func:`write_line` is for everything else.

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
    write_whole(stream, f"\n{printable(text)}\n" if stream.isatty() else f"{printable(text)}\n")


def write_line(stream: TextIO, text: str) -> None:
    """Write *text* as one line; a stream that fails is silent from then on."""
    write_whole(stream, f"{printable(text)}\n")


def say(*lines: str) -> None:
    """Write *lines* to stderr; a stream that fails is silent from then on."""
    write_whole(sys.stderr, "".join(f"{printable(line)}\n" for line in lines))


def report(*lines: str) -> None:
    """Write *lines*, which are what the command was run for, to stdout; a reader that closed the pipe has enough.

    Raises:
        OSError: They cannot be written.
    """
    failure = write_whole(sys.stdout, "".join(f"{printable(line)}\n" for line in lines))
    if failure is not None and not isinstance(failure, BrokenPipeError):
        raise failure


def log_handler(layout: str, level: int = logging.NOTSET) -> logging.Handler:
    """Return a handler that writes records to stderr, one line each, in the *layout* of ``logging``."""
    handler = _SteadyHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(_PrintableFormatter(layout))
    return handler


def steady(stream: TextIO) -> TextIO:
    """Return *stream* with writes that do not fail, for a library that draws on it."""
    return cast("TextIO", _Steady(stream))


class _SteadyHandler(logging.Handler):
    """Not ``logging.StreamHandler``, which prints a traceback of its own where a line cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        write_whole(self._stream, f"{self.format(record)}\n")


class _PrintableFormatter(logging.Formatter):
    """Escapes messages, and each line of a traceback behind one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


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
