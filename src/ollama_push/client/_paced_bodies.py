"""Bodies that are sent no faster than the rate of a client allows, each in a sync and an async form."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final

from ollama_push.client._guest import Guest
from ollama_push.core.observations import PauseReason
from ollama_push.core.registry.effects import ReportPause

__all__ = ["AsyncPacedBody", "PacedBody", "paced", "pauses_of"]

_LONGEST_SLEEP_SECONDS: Final = 0.1
"""How long a thread may take to notice that the push is to end."""


class PacedBody:
    """A body that is sent no faster than allowed (``core.ports.SizedBody``).

    Args:
        body: The body.
        guest: Says how long to wait.
        ended: Asked while waiting; the body itself raises what it means.

    Attributes:
        waited: Seconds that were waited so far.
    """

    def __init__(self, body: Any, guest: Guest, ended: Callable[[], bool]) -> None:
        self._body = body
        self._guest = guest
        self._ended = ended
        self.waited: float = 0.0

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for buffer in self._body:
            for piece in _cut(buffer, self._guest.piece_bytes):
                seconds = self._guest.take(len(piece))
                self.waited += seconds
                due = time.monotonic() + seconds
                while (left := due - time.monotonic()) > 0 and not self._ended():
                    time.sleep(min(left, _LONGEST_SLEEP_SECONDS))
                yield piece


class AsyncPacedBody:
    """A body that is sent no faster than allowed (``core.ports.AsyncSizedBody``).

    Args:
        pieces: Yields the buffers of the body, each time anew.
        size: Bytes of the body.
        guest: Says how long to wait.
        sleep: Waits so many seconds.

    Attributes:
        waited: Seconds that were waited so far.
    """

    def __init__(self, pieces: Callable[[], Any], size: int, guest: Guest, sleep: Callable[[float], Any]) -> None:
        self._pieces = pieces
        self._size = size
        self._guest = guest
        self._sleep = sleep
        self.waited: float = 0.0

    def __len__(self) -> int:
        return self._size

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        async with aclosing(self._pieces()) as buffers:
            async for buffer in buffers:
                for piece in _cut(buffer, self._guest.piece_bytes):
                    seconds = self._guest.take(len(piece))
                    self.waited += seconds
                    if seconds > 0:
                        await self._sleep(seconds)
                    yield piece


def paced(body: Any, guest: Guest, ended: Callable[[], bool]) -> Any:
    """Return *body* as it is sent: no faster than *guest* allows, if that limits it; see :class:`PacedBody`."""
    return body if guest.piece_bytes is None else PacedBody(body, guest, ended)


def pauses_of(body: object) -> list[ReportPause]:
    """Return what hooks are told of the waits of *body*."""
    if isinstance(body, PacedBody | AsyncPacedBody) and body.waited:
        return [ReportPause(PauseReason.RATE, body.waited)]
    return []


def _cut(buffer: bytes | memoryview, size: int | None) -> Iterator[bytes | memoryview]:
    if size is None or len(buffer) <= size:
        yield buffer
        return
    for start in range(0, len(buffer), size):
        yield buffer[start : start + size]
