"""How a request's body is announced, cut and checked before a library sends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ollama_push.core.errors import MachineMisuse
from ollama_push.core.ports import HttpRequest, RequestBody

__all__ = ["body_length", "pieces"]

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
