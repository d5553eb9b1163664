"""How bodies are framed and cut, what a response's head may say, and how long each may take."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Final, Literal, Self

import attrs

from ollama_push.core.arguments import ClientSeconds, chosen_seconds
from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, MachineMisuse, TransportTimeout
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import AsyncSizedBody, HttpRequest, RequestBody

__all__ = ["ChunkedBody", "RequestLimits", "pieces", "pieces_async", "response_headers"]

_PIECE_BYTES: Final = 1 << 20
"""Most that is sent under one write timeout, which limits a silence and not the time that a large buffer takes."""
_CRLF: Final = b"\r\n"
# Follows the line end of the previous chunk; a chunk extension is ignored.
_SIZE: Final = re.compile(rb"\r\n0*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]+)?")
_EXTENSION_BEGUN: Final = re.compile(rb"\r\n[0-9A-Fa-f]+[ \t]*;[^\r\n]")
_MAX_HELD_BYTES: Final = 65536
"""Most that is held of a size line or of the trailers. Longer extensions are dropped, as aiohttp does, unread."""


# RFC 9110, 5.6.2; lower case.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_FOLD: Final = re.compile(r"[ \t]*\r?\n[ \t]+|\t")
_VERSIONS: Final = ((1, 0), (1, 1))
_MAX_HEADERS: Final = 99
"""Most header lines of a response: http.client takes no more."""


def pieces(body: RequestBody) -> Iterator[bytes | memoryview]:
    """Yield the buffers of *body* to send: exactly ``len()`` bytes, or fewer and an error.

    Each is valid until the next is asked for. The last one is yielded only when the body has ended: a body
    that raises at its very end is not sent completely.

    Raises:
        MachineMisuse: The body has fewer or more bytes than its length says, or has to be awaited.
    """
    if isinstance(body, AsyncSizedBody):
        raise MachineMisuse("a body that has to be awaited needs an async transport")
    account = _BodyAccount(len(body))
    for buffer in [body] if isinstance(body, bytes) else body:
        yield from account.receive(buffer)
    yield from account.end()


async def pieces_async(body: RequestBody) -> AsyncGenerator[bytes | memoryview, None]:
    """Yield the buffers of *body* as :func:`pieces` does, also of one that has to be awaited."""
    if not isinstance(body, AsyncSizedBody):
        for piece in pieces(body):
            yield piece
        return
    account = _BodyAccount(len(body))
    async for buffer in body:
        for piece in account.receive(buffer):
            yield piece
    for piece in account.end():
        yield piece


class _BodyAccount:
    """Counts the buffers of a body and keeps the last one back."""

    def __init__(self, length: int) -> None:
        self._length = self._missing = length
        self._last: bytes | None = None

    def receive(self, buffer: bytes | memoryview) -> Iterator[bytes | memoryview]:
        """Return what of *buffer* is to be sent now."""
        self._missing -= len(buffer)
        if self._missing < 0 or self._last is not None:
            if not len(buffer):
                return iter(())
            raise MachineMisuse(f"a body gave more than the {self._length} bytes it announced")
        if not self._missing:
            # A copy: to learn whether the body has ended is to ask for the next buffer, which may overwrite this one.
            self._last = bytes(buffer)
            return iter(())
        return _cut(buffer)

    def end(self) -> Iterator[bytes | memoryview]:
        """Return what was kept back."""
        if self._missing:
            given = self._length - self._missing
            raise MachineMisuse(f"a body gave {given} of the {self._length} bytes it announced")
        return _cut(self._last or b"")


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
        asked = request.read_timeout
        if asked is not None:
            # What a request says of its own is for this request alone, and counts whatever the transport was given.
            read = chosen_seconds(read, asked) if isinstance(asked, ClientSeconds) else asked
        return cls(request.url, _timer(connect), _timer(read))

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


class ChunkedBody:
    """Decodes a chunked body (RFC 9112, 7.1) from data that may be cut anywhere, many chunks at a time.

    http.client does it one chunk at a time, in reads of 8 KiB: on a stream of short lines that takes longer than
    all other work on them.

    Attributes:
        last: Whether the last chunk was seen; only trailers can follow.
        ended: Whether the body is complete, trailers included.
        surplus: The bytes after it.
        problem: Why the coding is invalid; the body up to there has been returned.
    """

    __slots__ = ("_held", "_left", "ended", "last", "problem", "surplus")

    def __init__(self) -> None:
        # With this, every size line follows a line end, the first one too.
        self._held = _CRLF
        self._left = 0  # bytes of the current chunk still to come
        self.last = self.ended = False
        self.surplus = b""
        self.problem: ValueError | None = None

    def decode(self, data: bytes) -> bytes:
        """Return the body's bytes in *data*, which continues the data of the previous call."""
        data = self._held + data
        pieces: list[bytes] = []
        start = 0
        while not self.last:
            end = start + self._left
            cut = data.find(_CRLF, end + 2)
            if cut < 0:
                break
            pieces.append(data[start:end])
            size = _SIZE.fullmatch(data, end, cut)
            if size is None:
                self.problem = ValueError("a chunk has no size")
                return b"".join(pieces)
            start, self._left = cut + 2, int(size[1], 16)
            if not self._left:
                # The line end stays with the trailers: they end where two line ends meet.
                start, self.last = cut, True
        if self.last:
            _trailers, line_ends, self.surplus = data[start:].partition(_CRLF + _CRLF)
            self.ended = bool(line_ends)
        else:
            pieces.append(data[start : start + self._left])
            start += len(pieces[-1])
            self._left -= len(pieces[-1])
        self._held = data[start:]
        if len(self._held) > _MAX_HELD_BYTES and not self.ended:
            self._shorten()
        return b"".join(pieces)

    def _shorten(self) -> None:
        """Drop an extension that is too long to be held; anything else of that length is a problem."""
        extension = None if self.last else _EXTENSION_BEGUN.match(self._held)
        if extension is None:
            self.problem = ValueError(f"no line end in {_MAX_HELD_BYTES} bytes")
        else:
            # Its last byte may be the first one of the line end.
            self._held = extension[0] + self._held[-1:]


def response_headers(
    version: tuple[int, int], status: int, fields: Iterable[tuple[bytes, bytes]], limits: RequestLimits
) -> dict[str, str]:
    """Return the headers of a response: names in lower case, repeated ones joined, line folds made one space.

    Libraries differ in what they let pass. What both adapters refuse here is a head that says two things about the
    length of its body, or something that can be read in two ways (RFC 9112, 5.1, 6.1 and 6.3).

    Args:
        version: The version of HTTP that the peer named.
        status: The status of the final response.
        fields: Names and values as they arrived.
        limits: Of the request.

    Raises:
        ConnectionLost: The head cannot be trusted.
    """
    lines = [(name.decode("latin-1").lower(), _text(value)) for name, value in fields]
    joined: dict[str, str] = {}
    for name, value in lines:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    if problem := _head_problem(version, status, len(lines), joined):
        raise limits.lost(problem) from ValueError(problem)
    return joined


def _head_problem(version: tuple[int, int], status: int, count: int, headers: dict[str, str]) -> str:
    """Return why a head is refused, without a word of the peer's; empty when it is not."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if version not in _VERSIONS:
        return "the response is of another version of HTTP"
    if not 200 <= status < 600:  # noqa: PLR2004 - RFC 9110, 15
        return f"{status} is no status of a final response"
    if count > _MAX_HEADERS:
        return f"the response has more than {_MAX_HEADERS} headers"
    if not all(map(_TOKEN.fullmatch, headers)):
        return "the name of a header is invalid"
    if coding is not None and coding.lower() != "chunked":
        return "the body has a transfer coding that was not asked for"
    if coding is not None and length is not None:
        return "the body has a transfer coding and a length"
    if length is not None and not _LENGTH.fullmatch(length):
        return "the length of the body is invalid"
    return ""


def _text(value: bytes) -> str:
    """Return a header's value as UTF-8, or else as Latin-1 (RFC 9110, 5.5)."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return _FOLD.sub(" ", text).strip(" ")
