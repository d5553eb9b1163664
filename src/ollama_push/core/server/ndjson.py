r"""Bytes to lines: cut at ``\n`` and nowhere else, in linear time, within a limit.

``str.splitlines`` would also cut at U+0085 and U+2028, which are legal inside JSON strings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from ollama_push.core.errors import LineTooLong, MachineMisuse
from ollama_push.core.server.sentinels import NEED_DATA, NeedData

__all__ = ["MAX_LINE_BYTES", "LineBuffer"]

MAX_LINE_BYTES: Final = 8_000_000
"""Upstream's own limit for one line (ollama ``api/client.go``, v0.14.0+)."""


class LineBuffer:
    """Holds what has arrived and gives it back line by line.

    Call ``receive_data`` and ``receive_eof`` as bytes come, then ``next_line`` until it returns
    ``NEED_DATA`` or ``None``.
    """

    __slots__ = ("_ended", "_fresh", "_limit", "_lines", "_size", "_tail", "idle")

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()  # complete, in order
        self._tail: list[bytes] = []  # the pieces of the unfinished line, joined only when it ends
        self._size = 0  # bytes in _tail
        self._fresh: list[bytes] = []  # received, not looked at yet
        self._ended = False
        self.idle: bool = True  # nothing at all is held

    def receive_data(self, data: bytes) -> None:
        """Store *data*; nothing is decided here, so nothing can fail on it."""
        if self._ended:
            raise MachineMisuse("receive_data() called after receive_eof()")
        self._fresh.append(data)
        self.idle = False

    def receive_eof(self) -> None:
        """Note that nothing follows. Idempotent."""
        self._ended = True

    def next_line(self) -> bytes | NeedData | None:
        """Return the next line without its line end.

        Returns:
            The line; ``NEED_DATA`` while it is incomplete; ``None`` once the stream has ended and
            every line was returned.

        Raises:
            LineTooLong: The line exceeds the limit, finished or not.
        """
        if not self._lines:
            self._cut()
        if self._lines:
            line = self._lines.popleft()
            if len(line) > self._limit:
                raise LineTooLong(self._limit, len(line))
            return line[:-1] if line.endswith(b"\r") else line
        if self._size > self._limit:
            raise LineTooLong(self._limit, self._size)
        if not self._ended:
            return NEED_DATA
        if not self._size:
            return None
        line, self._tail, self._size = b"".join(self._tail), [], 0
        return line.removesuffix(b"\r")

    def next_lines(self) -> list[bytes]:
        """Return all complete lines at once; empty when ``next_line`` would return none, or raise.

        The same as calling ``next_line`` while it returns lines, for a third of the time.
        """
        if not self._lines and len(self._fresh) == 1 and not self._tail:
            # The common case: whole lines arrived, nothing was left over before.
            data = self._fresh[0]
            if len(data) <= self._limit and data.endswith(b"\n") and b"\r" not in data:
                self._fresh.clear()
                self.idle = True
                lines = data.split(b"\n")
                lines.pop()
                return lines
        lines = []
        self._cut()
        while self._lines and len(self._lines[0]) <= self._limit:
            line = self._lines.popleft()
            lines.append(line[:-1] if line.endswith(b"\r") else line)
        self.idle = not (self._lines or self._tail)
        return lines

    def give_back(self, lines: Sequence[bytes]) -> None:
        """Put lines back in front, as if they had not been returned."""
        self._lines.extendleft(reversed(lines))
        self.idle = False

    def next_body(self) -> bytes | NeedData | None:
        """Return everything as one piece once the stream has ended, then ``None``; lines do not count.

        Raises:
            LineTooLong: The body exceeds the limit, finished or not.
        """
        held = sum(map(len, self._fresh))
        if held > self._limit:
            raise LineTooLong(self._limit, held)
        if not self._ended:
            return NEED_DATA
        body = b"".join(self._fresh)
        self._fresh.clear()
        return body or None

    def peek(self, size: int) -> bytes:
        """Return the first *size* bytes of what no ``next_*`` call has looked at yet."""
        return b"".join(self._fresh)[:size]

    def _cut(self) -> None:
        """Move complete lines out of the fresh bytes; each byte is searched once and joined once."""
        for data in self._fresh:
            *complete, last = data.split(b"\n")
            if complete:
                self._tail.append(complete[0])
                complete[0] = b"".join(self._tail)
                self._tail, self._size = [], 0
                self._lines.extend(complete)
            if last:
                self._tail.append(last)
                self._size += len(last)
        self._fresh.clear()
