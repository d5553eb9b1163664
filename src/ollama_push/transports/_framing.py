"""What both adapters make of a request before their library sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from ollama_push.core.errors import MachineMisuse
from ollama_push.core.ports import HttpRequest, RequestBody

__all__ = ["body_length", "pieces", "timer"]

_PIECE_BYTES: Final = 1 << 20
"""Most that is sent under one write timeout: it limits a silence, and not how long a large buffer takes."""


def body_length(request: HttpRequest) -> dict[str, str]:
    """Return the header that tells the length of a body which a library would otherwise send chunked."""
    return {"Content-Length": str(len(request.body))} if len(request.body) else {}


def timer(seconds: float) -> float | None:
    """Return *seconds* as timers take them: ``None`` for no limit."""
    return None if seconds == math.inf else seconds


def pieces(body: RequestBody) -> Iterator[bytes | memoryview]:
    """Yield what to send of *body*, one after the other: exactly ``len()`` bytes, or too few and an error.

    Each is valid until the next is asked for. The last one comes only when the body has ended: a body
    that raises at its very end has not been sent whole.

    Raises:
        MachineMisuse: The body has fewer or more bytes than it says.
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
            # A copy: asking whether the body has ended is asking for the next buffer.
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
