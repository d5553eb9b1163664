"""The time limits of one request, and the errors that name its peer."""

from __future__ import annotations

import math
from typing import Literal, Self

import attrs

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, TransportTimeout
from ollama_push.core.ports import HttpRequest
from ollama_push.core.redaction import origin_of

__all__ = ["RequestLimits"]


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
