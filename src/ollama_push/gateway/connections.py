"""Bounds what a connection costs before it is known whose it is, and how many connections there are.

A connection stands between the event loop and aiohttp's protocol. aiohttp (seen in 3.13 to 3.14) has no limit of the
time and of all bytes of a head, reads the next head while a request is handled, and closes a connection only when its
client has taken everything.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Final, cast

import attrs
from aiohttp import web

__all__ = [
    "Connection",
    "ConnectionLimits",
    "Connections",
    "RareLog",
    "abort_unread",
    "begin_request",
    "end_request",
    "limit_writing",
]

_LOGGER: Final = logging.getLogger("ollama_push.gateway")

_HEAD_END: Final = b"\r\n\r\n"
_SLICE_BYTES: Final = 16 * 1024
"""Bytes of a body that aiohttp gets at a time: as many of the next head may be among them."""

_TOO_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_LOG_SECONDS: Final = 60.0


@attrs.frozen
class ConnectionLimits:
    """What clients may take before they are known.

    Attributes:
        total: Connections at the same time.
        per_client: Those from one address.
        body_bytes: Of a request; more is not kept for its handler.
        head_seconds: Time for a head, from its first byte; for the first head, from the beginning of the connection.
        write_seconds: Time in which a client must take what is written.
        head_bytes: Largest head.
    """

    total: int
    per_client: int
    body_bytes: int
    head_seconds: float
    write_seconds: float
    head_bytes: int = 32 * 1024


class RareLog:
    """Logs the first of many equal warnings a minute, and says how many there were."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._count = 0
        self._quiet_until = 0.0

    def note(self) -> None:
        """Log, unless that was done lately."""
        self._count += 1
        if time.monotonic() >= self._quiet_until:
            _LOGGER.warning("%s (%d since this was last said)", self._text, self._count)
            self._count = 0
            self._quiet_until = time.monotonic() + _LOG_SECONDS


class Connections:
    """All connections of a listener.

    When there are too many, of one client or in all, the one that has waited longest for its client is closed: for a
    head, for the rest of a body, or for a response to be taken. One whose request is carried out is never closed.

    Args:
        total: Connections at the same time.
        per_client: Those from one address.
    """

    def __init__(self, total: int, per_client: int) -> None:
        self._total = total
        self._per_client = per_client
        self._entered: set[Connection] = set()
        self._count_of: Counter[str] = Counter()
        # Ordered: the first has waited longest.
        self._waiting: dict[Connection, None] = {}
        self._waiting_of: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._log = RareLog("too many connections: those that wait for their clients are closed, or new ones refused")

    def enter(self, connection: Connection) -> bool:
        """Make room for *connection*; return whether there is any."""
        address = connection.address
        if self._count_of[address] >= self._per_client and not self._make_room(self._waiting_of[address]):
            return False
        if len(self._entered) >= self._total and not self._make_room(self._waiting):
            return False
        self._entered.add(connection)
        self._count_of[address] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Forget *connection*. Idempotent."""
        if connection not in self._entered:
            return
        address = connection.address
        self.note(connection, waits=False)
        self._entered.discard(connection)
        self._count_of[address] -= 1
        if not self._count_of[address]:
            del self._count_of[address], self._waiting_of[address]

    def note(self, connection: Connection, *, waits: bool) -> None:
        """Note whether *connection* waits for its client."""
        if not waits or connection not in self._entered:
            self._waiting.pop(connection, None)
            self._waiting_of[connection.address].pop(connection, None)
        elif connection not in self._waiting:
            self._waiting[connection] = self._waiting_of[connection.address][connection] = None

    def close_some(self, count: int) -> None:
        """Close those that have waited longest."""
        for connection in [*islice(self._waiting, count)]:
            connection.abort()

    def _make_room(self, waiting: Iterable[Connection]) -> bool:
        self._log.note()
        longest = next(iter(waiting), None)
        if longest is not None:
            longest.abort()
        return longest is not None


class Connection(asyncio.Protocol):
    """One connection: gives aiohttp's protocol what has arrived, as long as it keeps to the limits.

    The application must call ``begin_request`` and ``end_request`` for every request.

    Args:
        make: Makes aiohttp's protocol.
        connections: Those of the listener.
        limits: What a client may take.
    """

    def __init__(
        self,
        make: Callable[[], web.RequestHandler],
        connections: Connections,
        limits: ConnectionLimits,
    ) -> None:
        self.address: str = ""
        self._make = make
        self._inner: web.RequestHandler | None = None  # until there is room, and after the end
        self._connections = connections
        self._limits = limits
        self._received = bytearray()  # and not yet given to aiohttp
        self._head = _Head()
        self._request: web.BaseRequest | None = None  # since its handler began
        self._responded = False
        self._drops = False
        self._write_seconds = limits.write_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # create_server() makes no other
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._connections.enter(self):
            self._refuse(_TOO_MANY)
            return
        # Each write then waits until the system has taken everything: nothing stays in a buffer that nobody watches.
        self._transport.set_write_buffer_limits(0)
        self._inner = self._make()
        self._start_head_timer()
        self._note()
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_write_timer()
        if self._inner is not None:
            self._connections.leave(self)
            self._inner.connection_lost(exc)
            self._inner = None

    def data_received(self, data: bytes) -> None:
        if not self._drops:
            self._received += data
            self._give()

    def pause_writing(self) -> None:
        self._start_write_timer()
        if self._inner is not None:
            self._note()
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._stop_write_timer()
        if self._inner is not None:
            self._note()
            self._inner.resume_writing()

    def begin(self, request: web.BaseRequest) -> None:
        """Note that *request* is handled from now on: aiohttp may have its body."""
        self._request = request
        self._end_head()
        self._transport.resume_reading()
        self._give()

    def end(self, request: web.BaseRequest) -> None:
        """Note that *request* has its response."""
        self._request = request  # one that is refused before a handler begins was not noted yet
        self._responded = True
        self._end_head()
        if self._drops and self._inner is not None:
            self._inner.close()
        self._give()

    def limit_writing(self, seconds: float) -> None:
        """Let each write of this response take *seconds*, and do not close the connection to make room meanwhile."""
        self._write_seconds = seconds

    def abort(self) -> None:
        """Close the connection at once, although the client has not taken everything."""
        self._connections.leave(self)
        if self._write_timer is None:
            self._transport.abort()
        else:
            abort_unread(self._transport)

    def _give(self) -> None:
        """Give aiohttp what it may have now."""
        self._begin_head_if_due()
        while self._inner is not None and self._received and (count := self._given_now()):
            piece = bytes(self._received[:count])
            del self._received[:count]
            self._inner.data_received(piece)
            self._begin_head_if_due()
        self._note()

    def _given_now(self) -> int:
        """Return how many of the bytes that were received are of the head or body that aiohttp reads."""
        if self._request is not None:
            return self._hold_next_head() if self._request.content.is_eof() else _SLICE_BYTES
        return self._hold_body() if self._head.is_over else self._next_of_head()

    def _next_of_head(self) -> int:
        count = self._head.take(self._received)
        if self._head.size > self._limits.head_bytes:
            self._refuse(_TOO_LONG)
            return 0
        if self._head.is_over:
            self._stop_head_timer()
        elif self._head.size and self._head_timer is None:
            self._start_head_timer()
        return count

    def _hold_body(self) -> int:
        """Keep what comes before the handler begins, which takes some iterations of the loop; return 0."""
        if len(self._received) > self._limits.head_bytes + self._limits.body_bytes:
            self._transport.pause_reading()
        return 0

    def _hold_next_head(self) -> int:
        """Keep what comes before the response; return 0. Too much is dropped: then the response is the last."""
        if len(self._received) > self._limits.head_bytes:
            # Reading goes on: nothing else notices that the client is gone.
            self._drops = True
            self._received.clear()
        return 0

    def _begin_head_if_due(self) -> None:
        if self._responded and self._request is not None and self._request.content.is_eof():
            self._head = _Head()
            self._request = None
            self._responded = False
            self._write_seconds = self._limits.write_seconds

    def _end_head(self) -> None:
        self._head.is_over = True
        self._stop_head_timer()

    def _note(self) -> None:
        reads_body = self._request is not None and not self._request.content.is_eof()
        writes = self._write_timer is not None and self._write_seconds == self._limits.write_seconds
        self._connections.note(self, waits=not self._head.is_over or reads_body or writes)

    def _refuse(self, response: bytes) -> None:
        self._drops = True
        self._received.clear()
        self._transport.write(response)
        self._transport.close()  # which waits until the client has taken the response
        self._start_write_timer()

    def _start_head_timer(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(self._limits.head_seconds, self.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_write_timer(self) -> None:
        self._stop_write_timer()
        self._write_timer = asyncio.get_running_loop().call_later(self._write_seconds, self.abort)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


@attrs.define
class _Head:
    """Counts a head while it arrives, and finds its end.

    Attributes:
        size: Bytes so far.
        is_over: Whether it is complete.
    """

    size: int = 0
    is_over: bool = False
    _tail: bytes = b""

    def take(self, received: bytearray) -> int:
        """Return how many bytes of *received* are of this head; lines before it are removed."""
        if not self.size:
            # Empty lines before a head are ignored (RFC 9112, 2.2).
            del received[: len(received) - len(received.lstrip(b"\r\n"))]
        seen = self._tail + received
        end = seen.find(_HEAD_END)
        self.is_over = end >= 0
        count = end + len(_HEAD_END) - len(self._tail) if self.is_over else len(received)
        self._tail = bytes(seen[1 - len(_HEAD_END) :])
        self.size += count
        return count


def abort_unread(transport: asyncio.BaseTransport) -> None:
    """Close a connection whose client takes nothing.

    Without a reset the system would go on offering what it has for minutes (SO_LINGER, socket(7)).
    """
    with suppress(AttributeError, TypeError):  # another event loop than asyncio's own may have no such socket
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cast("asyncio.Transport", transport).abort()


def begin_request(request: web.BaseRequest) -> None:
    """Tell the connection of *request* that it is handled from now on."""
    if (connection := _connection_of(request)) is not None:
        connection.begin(request)


def end_request(request: web.BaseRequest) -> None:
    """Tell the connection of *request* that it has its response."""
    if (connection := _connection_of(request)) is not None:
        connection.end(request)


def limit_writing(request: web.BaseRequest, seconds: float) -> None:
    """Let each write of the response to *request* take *seconds*, instead of what holds for other responses."""
    if (connection := _connection_of(request)) is not None:
        connection.limit_writing(seconds)


def _connection_of(request: web.BaseRequest) -> Connection | None:
    """Return the connection of *request*; ``None`` when it is gone, or when another listener than ours made it."""
    protocol = None if request.transport is None else request.transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None
