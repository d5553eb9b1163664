"""How a request's body is announced, cut and checked before a library sends it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal, Self

import attrs

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, MachineMisuse, TransportTimeout
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import HttpRequest, RequestBody

__all__ = ["RequestLimits", "body_length", "pieces"]

_PIECE_BYTES: Final = 1 << 20
"""Most that is sent under one write timeout, which limits a silence and not the time that a large buffer takes."""


def body_length(request: HttpRequest) -> dict[str, str]:
    """Return the header with the body's length; without it, libraries send a body of several buffers chunked."""
    return {"Content-Length": str(len(request.body))} if len(request.body) else {}


def pieces(body: RequestBody) -> Iterator[bytes | memoryview]:
    """Yield the buffers of *body* to send: exactly ``len()`` bytes, or fewer and an error.

    Each is valid until the next is asked for. The last one is yielded only when the body has ended: a body
    that raises at its very end is not sent completely.

    Raises:
        MachineMisuse: The body has fewer or more bytes than its length says.
    """
    missing = length = len(body)
    last: bytes | None = None
    for buffer in [body] if isinstance(body, bytes) else body:
        missing -= len(buffer)
        if missing < 0 or last is not None:
            if not len(buffer):
                continue
            raise MachineMisuse(f"a body gave more than the {length} bytes it announced")
        if not missing:
            # A copy: to learn whether the body has ended is to ask for the next buffer, which may overwrite this one.
            last = bytes(buffer)
            continue
        yield from _cut(buffer)
    if missing:
        raise MachineMisuse(f"a body gave {length - missing} of the {length} bytes it announced")
    yield from _cut(last or b"")


def _cut(buffer: bytes | memoryview) -> Iterator[bytes | memoryview]:
    if len(buffer) <= _PIECE_BYTES:
        yield buffer
        return
    whole = memoryview(buffer)
    for start in range(0, len(whole), _PIECE_BYTES):
        yield whole[start : start + _PIECE_BYTES]


@attrs.frozen
class RequestLimits:
    """The time limits of a request, in seconds; ``None`` for no limit.

    Attributes:
        url: The request's URL; errors show its origin alone.
        connect: Longest wait for a connection.
        read: Longest silence, while the peer takes the body and while it sends its response.
    """

    url: str
    connect: float | None
    read: float | None

    @classmethod
    def of(cls, request: HttpRequest, connect: float, read: float) -> Self:
        """Return the limits of *request* in a transport with these defaults."""
        return cls(request.url, _timer(connect), _timer(read if request.read_timeout is None else request.read_timeout))

    def exceeded(self, phase: Literal["connect", "read", "write"]) -> TransportTimeout:
        """Return the error for a limit that was exceeded."""
        seconds = self.connect if phase == "connect" else self.read
        return TransportTimeout(origin_of(self.url), phase, seconds or 0.0)

    def unreached(self, cause: ConnectCause, detail: str) -> ConnectFailed:
        """Return the error for a connection that was not made."""
        return ConnectFailed(origin_of(self.url), cause, detail)

    def lost(self, detail: str) -> ConnectionLost:
        """Return the error for a connection that ended too early."""
        return ConnectionLost(origin_of(self.url), detail)


def _timer(seconds: float) -> float | None:
    """Return *seconds* as libraries take them: ``None`` for no limit."""
    return None if seconds == math.inf else seconds
