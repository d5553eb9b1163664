"""A whole response to a small request, as data."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import attrs

__all__ = ["MAX_RESPONSE_BYTES", "BufferedResponse", "ResponseBuffer", "retry_after_seconds"]

MAX_RESPONSE_BYTES: Final = 8_000_000
"""Longest body read: a list of some thousand models fits, and any manifest (4 MiB at most by convention)."""


@attrs.frozen
class BufferedResponse:
    """A whole response to a small request.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        body: At most ``MAX_RESPONSE_BYTES``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ResponseBuffer:
    """Gathers the body of a small response, up to ``MAX_RESPONSE_BYTES``."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def receive_data(self, data: bytes) -> bool:
        """Store *data*; return whether more is wanted."""
        self._pieces.append(data)
        self._size += len(data)
        return self._size < MAX_RESPONSE_BYTES

    def response(self, status: int, headers: Mapping[str, str]) -> BufferedResponse:
        """Return the response with what was gathered."""
        return BufferedResponse(status, dict(headers), b"".join(self._pieces)[:MAX_RESPONSE_BYTES])


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the wait a ``Retry-After`` header asks for, in seconds; ``None`` without a usable one.

    The HTTP-date form is measured against the response's own ``Date``, so no clock is needed.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None
