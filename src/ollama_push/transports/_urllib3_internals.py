"""All uses of undocumented parts of urllib3 and http.client; no other module touches those.

Tested with urllib3 2.2.0 and 2.8.0 on CPython 3.11. Each part says what it works around. What urllib3 documents is
used by :mod:`ollama_push.transports._urllib3`.
"""

from __future__ import annotations

import errno
import http.client
import io
import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import urllib3
from urllib3 import exceptions as u3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from ollama_push.core.ports import RequestBody
from ollama_push.core.raisers import raised_by_signal
from ollama_push.transports._framing import pieces
from ollama_push.transports._machine import Proxy
from ollama_push.transports._socks import connect_through
from ollama_push.transports._urllib3_cancel import SENT_HERE, RequestCancelled, note_socket, shut_down

__all__ = [
    "BodyFailed",
    "UploadBody",
    "chunked_reader",
    "close_pools",
    "plain_reader",
    "read_at_once",
    "release",
    "socket_below",
    "use_own_connections",
]

PoolManager = TypeVar("PoolManager", bound=urllib3.PoolManager)

# What a socket raises when its peer has closed the connection; TLS has exceptions of its own.
_PEER_CLOSED: Final = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


# Long enough to read what has arrived, too short to wait for more.
_ARRIVED_SECONDS: Final = 0.001


class BodyFailed(Exception):
    """Carries an error of the body itself through urllib3, which takes an ``OSError`` for the network's."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _RefusedEarly(Exception):
    """The peer has responded, and does not want the rest of the body."""


class UploadBody:
    """A request's body while it is sent.

    It sets the socket's timeout when its turn comes. Works around: until then urllib3's connect timeout is set,
    which is not the time that a peer may take no bytes, and urllib3 sets the read timeout only after the body.

    Args:
        body: The body.
        silence: Seconds that the peer may take nothing; ``None`` for no limit.
        hold: Seconds to wait for a response first.

    Attributes:
        connection: Where it is sent; known while urllib3 sends the request.
        started: Whether the head was sent and the body's turn has come.
        sent_bytes: How much of it was handed over.
        complete: Whether all of it was handed to the operating system.
        stalled: Whether the peer took nothing for too long.
    """

    def __init__(self, body: RequestBody, silence: float | None, hold: float = 0.0) -> None:
        self._body = body
        self._silence = silence
        self._hold = hold
        self.connection: HTTPConnection | None = None
        self.started = False
        self.sent_bytes = 0
        self.complete = not len(body)
        self.stalled = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.started = True
        if self.connection is not None and self.connection.sock is not None:
            self.connection.sock.settimeout(self._silence)
        try:
            for piece in pieces(self._body):
                if isinstance(self.connection, _Connection) and self.connection.was_refused(self._hold):
                    raise _RefusedEarly
                self._hold = 0.0
                self.sent_bytes += len(piece)
                yield piece
        except _RefusedEarly:
            raise
        except Exception as exc:
            raise BodyFailed(exc) from exc
        self.complete = True


_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [^\r\n]*)?\r?\n")
_EARLY_STATUS: Final = re.compile(rb"(?:HTTP/1\.[01] 1.*?\r\n\r\n)*HTTP/1\.[01] ([2-9])", re.DOTALL)
_EARLY_BYTES: Final = 16 * 1024
_HEADER_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*\r?\n")
# Continues the header above it (RFC 9112, 5.2).
_FOLDED_LINE: Final = re.compile(rb"[ \t][^\0\r\n]*\r?\n")
_LINE_ENDS: Final = (b"\r\n", b"\n")


class _ReadBefore(io.RawIOBase):
    """What a socket reads, behind what was read from it before."""

    def __init__(self, before: bytes, raw: io.RawIOBase) -> None:
        self._before = before
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._before:
            return self._raw.readinto(buffer)
        count = min(len(buffer), len(self._before))
        buffer[:count], self._before = self._before[:count], self._before[count:]
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _HeadReader(io.BufferedReader):
    """Reads a head within the socket's timeout, refuses what is none, and then reads the body as any reader.

    Works around: the timeout of a socket limits each read alone, so that a head that drips never ends. http.client
    takes a line that it cannot read for the end of the head, and the end of the connection as well.
    """

    def __init__(self, raw: Any, sock: socket.socket) -> None:
        super().__init__(raw)
        self._socket = sock
        self._silence = sock.gettimeout()
        self._valid: tuple[re.Pattern[bytes], ...] = (_STATUS_LINE,)
        self._in_head = True
        self._request = SENT_HERE.get()
        self._ends_at = math.inf if self._silence is None else time.monotonic() + self._silence
        self._readinto = raw.readinto
        # On the instance: reads of the body then take no detour.
        raw.readinto = self._readinto_in_time

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if self._in_head and len(line) != size:  # http.client refuses one of that size itself
            self._check(line)
        return line

    def end_head(self) -> None:
        """Set the socket's timeout again for each read. Idempotent."""
        self._in_head = False
        if "readinto" in vars(self.raw):
            del self.raw.readinto
            try:
                self._socket.settimeout(self._silence)
            except OSError as exc:
                if exc.errno != errno.EBADF:  # closed
                    raise

    def close(self) -> None:
        if not self.closed:
            self.end_head()
        super().close()

    def _check(self, line: bytes) -> None:
        if line in _LINE_ENDS and self._valid[0] is not _STATUS_LINE:
            # After an interim response, another one follows.
            self._valid = (_STATUS_LINE,)
        elif any(pattern.fullmatch(line) for pattern in self._valid):
            of_first = self._valid[0] is _STATUS_LINE
            self._valid = (_HEADER_LINE,) if of_first else (_HEADER_LINE, _FOLDED_LINE)
        elif line or self._valid[0] is not _STATUS_LINE:  # http.client knows a connection that ends without a response
            raise http.client.HTTPException("this is no head of a response" if line else "the head is incomplete")

    def _readinto_in_time(self, buffer: Any) -> int | None:
        # Not 0 when the time is over: a process that was stopped (SIGSTOP) reads what has arrived meanwhile.
        left = max(self._ends_at - time.monotonic(), _ARRIVED_SECONDS)
        self._socket.settimeout(None if left == math.inf else left)
        try:
            read: int | None = self._readinto(buffer)
        except TimeoutError as exc:
            if raised_by_signal(exc):
                raise
            # Once more: a process that was stopped may be told of its timeout before what has arrived meanwhile.
            _let_read_again(self.raw)
            self._socket.settimeout(_ARRIVED_SECONDS)
            read = self._readinto(buffer)
        if read and self._request is not None:
            self._request.sent.answered = True
        return read


class _FinalResponse(http.client.HTTPResponse):
    """Skips every interim response (RFC 9110, 15.2), and limits the time and the form of the head.

    Works around: http.client skips 100 Continue alone, and takes 102 and 103 for the final response.
    """

    def __init__(self, sock: socket.socket, *args: Any, early: bytes = b"", **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()
        self.fp: io.BufferedReader = _HeadReader(_ReadBefore(early, raw) if early else raw, sock)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        if isinstance(self.fp, _HeadReader):
            self.fp.end_head()
        # urllib3 raises for two lengths that differ, and forgets to close the connection.
        if "," in ",".join(self.headers.get_all("content-length", [""])):
            raise http.client.HTTPException("the length of the body is invalid")
        # http.client compares the value as it stands, with folds and spaces.
        if self.headers.get("transfer-encoding", "").strip().lower() == "chunked":
            self.chunked, self.chunk_left, self.length = True, None, None

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
        interim = 100 < status < 200 and status != http.client.SWITCHING_PROTOCOLS  # noqa: PLR2004 - the class 1xx
        return version, http.client.CONTINUE if interim else status, reason


class _Connection(HTTPConnection):
    """Tells an :class:`UploadBody` what becomes of it, and the request under way which socket it uses."""

    response_class: Any = _FinalResponse
    _has_served = False
    _early = b""

    def __init__(self, *args: Any, _socks_options: Mapping[str, Proxy] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._socks = None if _socks_options is None else _socks_options["proxy"]

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:
        """Send the request; keeps apart a peer that takes nothing, and one that responds before it has all.

        Works around: urllib3 looks for an early response after EPIPE alone, not after a reset or an end of TLS.
        """
        if self.sock is not None:
            note_socket(self.sock)
            self._begin()
        self.response_class = _FinalResponse
        if not isinstance(body, UploadBody):
            super().request(method, url, body, *args, **options)
            return
        body.connection, self._early = self, b""
        try:
            super().request(method, url, body, *args, **options)  # type: ignore[arg-type]  # the hints name bytes only
        except TimeoutError:
            body.stalled = body.started
            raise
        except _RefusedEarly:
            pass  # urllib3 now reads the response
        except _PEER_CLOSED as exc:
            # The peer may have responded before: urllib3 now reads, and raises what it finds instead.
            if not body.started or raised_by_signal(exc):
                raise
        finally:
            body.connection = None
            if self._early:
                self.response_class = partial(_FinalResponse, early=self._early)

    def was_refused(self, within: float) -> bool:
        """Say whether the peer has responded to a body that is being sent, and with no success: it wants no more.

        A response is waited for *within* so many seconds.

        Works around: http.client sends all of a body before it looks for a response. Who redirects an upload need not
        read what is sent to the wrong place, and some read it to its end, as slowly as the network is.
        """
        if self.sock is None:
            return False
        silence = self.sock.gettimeout()
        self.sock.settimeout(within)
        try:
            self._early += self.sock.recv(_EARLY_BYTES)
        except OSError as exc:
            # Nothing has arrived; over TLS, nothing but a ticket. What else is wrong is seen by who sends.
            if raised_by_signal(exc):
                raise
        finally:
            self.sock.settimeout(silence)
        # After an interim response, the final one follows.
        final = _EARLY_STATUS.match(self._early)
        return final is not None and final[1] >= b"3"

    def connect(self) -> None:
        """Connect, through a proxy and with TLS if need be; a silence in there is one of connecting.

        Works around: urllib3 takes a timeout of a proxy's response or of TLS for one of the response.
        """
        self._has_served = False
        try:
            super().connect()
        except TimeoutError as exc:
            raise u3.ConnectTimeoutError(self, f"connecting to {self.host} timed out") from exc
        self._begin()

    def _begin(self) -> None:
        if (active := SENT_HERE.get()) is not None:
            active.sent.begin(kept=self._has_served)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 does: a response of its own
        """Return the response; from its head on, the connection has served a request."""
        response = super().getresponse()
        self._has_served = True
        return response

    def _new_conn(self) -> socket.socket:
        """Connect as urllib3's method of this name does, with a socket that is noted before it is connected.

        Works around: urllib3 shows its socket only once it is connected, so connecting could not be cancelled.
        """
        try:
            return self._connected()
        except UnicodeError as exc:
            raise u3.LocationParseError(f"{self.host!r}, label empty or too long") from exc
        except socket.gaierror as exc:
            raise u3.NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise u3.ConnectTimeoutError(self, f"connecting to {self.host} timed out") from exc
        except OSError as exc:
            raise u3.NewConnectionError(self, f"connecting failed: {exc}") from exc

    def _connected(self) -> socket.socket:
        failure = OSError("the host has no address")
        if self._socks is not None and self._socks.finds_hosts:
            return self._connected_by(self._socks, self.host)
        # _dns_host keeps the final dot of a fully qualified name, which ``host`` lacks.
        for *kind, _name, address in socket.getaddrinfo(self._dns_host, self.port, 0, socket.SOCK_STREAM):
            try:
                if self._socks is not None:
                    return self._connected_by(self._socks, str(address[0]))
                return self._connected_to(address, *kind)
            except RequestCancelled:
                raise
            except OSError as exc:
                if raised_by_signal(exc):
                    raise
                failure = exc
        raise failure

    def _connected_to(self, address: Any, *kind: Any) -> socket.socket:
        sock = socket.socket(*kind)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(self.timeout)
            note_socket(sock)
            sock.connect(address)
            # Again: the request may have been cancelled just before it began to connect.
            note_socket(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connected_by(self, proxy: Proxy, host: str) -> socket.socket:
        # Its library has no way to show a socket before it is connected: until then, this cannot be cancelled.
        sock = connect_through(proxy, host, self.port, self.timeout if isinstance(self.timeout, float) else None)
        try:
            note_socket(sock)
            for option in self.socket_options or ():
                sock.setsockopt(*option)
        except BaseException:
            sock.close()
            raise
        return sock


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _GivesFreshConnections(urllib3.HTTPConnectionPool):
    """Works around: urllib3 has no way to say that one request wants a new connection."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if (active := SENT_HERE.get()) is not None and active.request.fresh:
            connection.close()  # it connects again when it is used
        return connection


class _Pool(_GivesFreshConnections):
    ConnectionCls = _Connection


class _SecurePool(_GivesFreshConnections, urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def use_own_connections(manager: PoolManager, socks: Proxy | None = None) -> PoolManager:
    """Return *manager*, whose connections are now those of this module, through a SOCKS proxy if there is one.

    Works around: urllib3 has its own way through SOCKS proxies, with other connections and another library.
    """
    if socks is not None:
        manager.connection_pool_kw["_socks_options"] = {"proxy": socks}
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager


def read_at_once(response: urllib3.BaseHTTPResponse, read1: Callable[[int], bytes], size: int) -> bytes:
    """Return what *read1* gives without a wait, after it has timed out; empty when that is nothing."""
    raw = getattr(getattr(_below(response), "fp", None), "raw", None)
    sock = socket_below(response)
    if raw is None or sock is None:
        return b""
    silence = sock.gettimeout()
    _let_read_again(raw)
    sock.settimeout(_ARRIVED_SECONDS)
    try:
        return read1(size)
    except TimeoutError as exc:
        if raised_by_signal(exc):
            raise
        return b""
    finally:
        sock.settimeout(silence)


def _let_read_again(raw: Any) -> None:
    """Let a socket's file be read although it has timed out. Works around: it refuses that (``socket.SocketIO``)."""
    raw._timeout_occurred = False  # noqa: SLF001 - see above


def close_pools(manager: urllib3.PoolManager) -> None:
    """Close the idle connections of *manager*, and let those in use be closed after their response.

    Works around: ``PoolManager.clear()`` (urllib3 2) only drops the pools, which close their connections when they
    are garbage collected; an error that somebody keeps refers to its pool. And urllib3 closes sockets without shutting
    them down, so that the server would not notice while a forked process has copies of them.
    """
    # Pools that are dropped because of many hosts may be in use, and are left to the garbage collection.
    for key in manager.pools.keys():  # noqa: SIM118 - no iteration over it otherwise
        pool = manager.pools.get(key)
        if pool is not None:
            for idle in list(pool.pool.queue) if pool.pool is not None else ():
                if idle is not None and idle.sock is not None:
                    shut_down(idle.sock)
            pool.close()
    manager.clear()


def plain_reader(response: urllib3.BaseHTTPResponse) -> Callable[[int], bytes]:
    """Return ``read1`` of the body: it gives what has arrived, at most so many bytes.

    Works around: ``stream()`` of urllib3 waits for a whole buffer where the body ends with the connection, and its
    ``read1()``, which adds decoding, takes three times as long as the one of http.client below it.
    """
    read1: Callable[[int], bytes] = _below(response).read1
    return read1


def chunked_reader(response: urllib3.BaseHTTPResponse) -> Callable[[int], bytes] | None:
    """Return ``read1`` of the connection below a chunked body, and ``None`` when the body is not chunked.

    Works around: http.client takes off the chunked coding in reads of one chunk each.
    """
    below = _below(response)
    if not getattr(below, "chunked", False) or getattr(below, "fp", None) is None:
        return None
    read1: Callable[[int], bytes] = below.fp.read1
    return read1


def release(response: urllib3.BaseHTTPResponse) -> None:
    """Give the connection of a response that was read to its end back to the pool.

    Works around: http.client does not know that the response has ended when it was read by :func:`chunked_reader`,
    or by length, and would refuse the next request.
    """
    _below(response).close()
    response.release_conn()


def socket_below(response: urllib3.BaseHTTPResponse) -> Any:
    """Return the socket that a body is read from; ``None`` when there is none any more, or it is not to be found.

    Works around: a connection gives its socket away to a response after which it cannot be used again.
    """
    reader = getattr(getattr(_below(response), "fp", None), "raw", None)
    return getattr(reader, "_sock", None)


def _below(response: urllib3.BaseHTTPResponse) -> Any:
    """Return http.client's response, which urllib3's wraps; another kind of response is its own."""
    return getattr(response, "_fp", response)
