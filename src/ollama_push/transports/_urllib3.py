"""The sync transport, on urllib3."""

from __future__ import annotations

import http.client
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import exceptions as u3

from ollama_push.core.durations import checked_seconds
from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    TransportError,
    TransportTimeout,
    UsedAfterClose,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.redaction import origin_of
from ollama_push.transports._chunked import ChunkedBody
from ollama_push.transports._failures import connect_failed
from ollama_push.transports._framing import body_length, timer
from ollama_push.transports._proxies import proxy_for
from ollama_push.transports._tls import ClientCertificate, build_tls_context
from ollama_push.transports._urllib3_cancel import ActiveRequests, CancellableRequest
from ollama_push.transports._urllib3_upload import BodyFailed, Upload, prepared

__all__ = ["Urllib3Transport"]

_READ_BYTES: Final = 65536
_POOLED_CONNECTIONS: Final = 16
# What urllib3 and, below it, http.client raise for a peer or a network.
_FAILURES: Final = (u3.HTTPError, http.client.HTTPException, OSError, ValueError)


class Urllib3Transport:
    """Moves bytes with urllib3. Safe to share between threads.

    Args:
        pool: A pool manager to use for everything; it is not closed by us, and proxies, TLS and how long a
            peer may take no bytes (urllib3 itself: the connect timeout) are then its own business. ``cancel``
            then wakes no thread that waits: its request ends with the next byte of its response.
        connect_timeout: Seconds for DNS, TCP and TLS together per address.
        read_timeout: Longest silence in seconds for requests that do not say; ``None`` for no limit.
        ca_file: PEM file of CAs to trust in addition to the system's.
        client_cert: Certificate and key to show to the server.
        trust_env: Whether to use the proxies of the environment (never for loopback).

    Raises:
        InvalidSetting: A timeout, ``ca_file`` or ``client_cert`` cannot be used.
    """

    def __init__(
        self,
        pool: urllib3.PoolManager | None = None,
        *,
        connect_timeout: float | None = 10.0,
        read_timeout: float | None = 900.0,
        ca_file: str | PathLike[str] | None = None,
        client_cert: ClientCertificate | None = None,
        trust_env: bool = True,
    ) -> None:
        self._injected = pool
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._connect_timeout = checked_seconds("connect_timeout", connect_timeout)
        self._read_timeout = checked_seconds("read_timeout", read_timeout)
        self._trust_env = trust_env
        # Reading the system's CAs takes tens of milliseconds: only when they are not the defaults.
        custom = ca_file is not None or client_cert is not None
        self._tls: dict[str, Any] = {"ssl_context": build_tls_context(ca_file, client_cert)} if custom else {}
        self._lines = ActiveRequests()
        self._closed = False

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[_Response]:
        """Send *request* and hold its answer; see :mod:`ollama_push.core.ports`."""
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        silence = self._read_timeout if request.read_timeout is None else request.read_timeout
        limits = _Limits(origin_of(request.url), timer(self._connect_timeout), timer(silence))
        upload = Upload(request.body, limits.read)
        with self._lines.opened(request) as line:
            response = _Response(self._send(request, limits, upload, line), request, limits, upload, line)
            try:
                yield response
            finally:
                response.hang_up()

    def cancel(self, request: HttpRequest, /) -> None:
        """Cancel *request*; see :class:`ollama_push.core.ports.CancelsRequests`."""
        self._lines.break_off(request)

    def close(self) -> None:
        """Close all idle connections; an injected pool stays open. Idempotent."""
        self._closed = True
        for pool in self._pools.values():
            pool.clear()
        self._pools.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self, request: HttpRequest, limits: _Limits, upload: Upload, line: CancellableRequest
    ) -> urllib3.BaseHTTPResponse:
        """Send *request* and return its answer, of which the head is there."""
        try:
            with self._lines.used(line):
                raw = self._pool_for(request.url).request(
                    request.method,
                    request.url,
                    body=upload if len(request.body) else None,  # type: ignore[arg-type]  # any iterable will do
                    headers={**request.headers, **body_length(request)},
                    timeout=urllib3.Timeout(connect=limits.connect, read=limits.read),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
        except BodyFailed as exc:
            error = exc.error
        except _FAILURES as exc:
            if line.broken:
                raise _broken_off(limits) from exc
            if upload.stalled:
                raise TransportTimeout(limits.address, "write", limits.read or 0.0) from exc
            raise _translated(exc, request.url, limits, connected=upload.started) from exc
        else:
            return raw
        # Out here it gets no context: the error is the body's own, as it was raised.
        raise error

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        if self._injected is not None:
            return self._injected
        proxy = proxy_for(url) if self._trust_env else None
        pool = self._pools.get(proxy)
        if pool is None:
            # setdefault: two threads may get here at once, and both must end up with one pool.
            pool = self._pools.setdefault(proxy, self._new_pool(proxy))
        return pool

    def _new_pool(self, proxy: str | None) -> urllib3.PoolManager:
        if proxy is None:
            return prepared(urllib3.PoolManager(maxsize=_POOLED_CONNECTIONS, **self._tls), self._lines)
        parts = urlsplit(proxy)
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else None
        headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
        manager = urllib3.ProxyManager(proxy, maxsize=_POOLED_CONNECTIONS, proxy_headers=headers, **self._tls)
        return prepared(manager, self._lines)


class _Limits:
    """What a request may take, and how errors name its peer."""

    __slots__ = ("address", "connect", "read")

    def __init__(self, address: str, connect: float | None, read: float | None) -> None:
        self.address = address
        self.connect = connect
        self.read = read


class _Response:
    """An answer while it arrives."""

    def __init__(
        self,
        raw: urllib3.BaseHTTPResponse,
        request: HttpRequest,
        limits: _Limits,
        upload: Upload,
        line: CancellableRequest,
    ) -> None:
        self._raw = raw
        self._url = request.url
        # RFC 9110, 6.4.1: whatever length these announce, they have no body.
        self._bodiless = request.method == "HEAD" or raw.status in (204, 304)
        self._limits = limits
        self._upload = upload
        self._line = line
        self.status: int = raw.status
        # Indexing joins repeated headers; items() would give each of them.
        self.headers: Mapping[str, str] = {name.lower(): raw.headers[name] for name in raw.headers}
        # Nobody has to read a body that is not there to keep the connection.
        self._complete = self._bodiless or not self._announced()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        # read1() hands over what has arrived; stream() would wait for a whole chunk. http.client's own costs
        # a third of urllib3's wrapper around it, which adds decoding that we do not want.
        raw = getattr(self._raw, "_fp", self._raw)
        if getattr(raw, "chunked", False) and getattr(raw, "fp", None) is not None and not self._bodiless:
            yield from self._chunked(raw)
            return
        missing = self._announced()
        while data := self._read(raw.read1):
            missing -= len(data)
            yield data
        if 0 < missing < math.inf:
            raise ConnectionLost(self._limits.address, f"{missing} bytes of the body are missing")
        self._complete = True

    def _chunked(self, raw: Any) -> Iterator[bytes]:
        """Yield a chunked body, read below http.client, which would take off its coding chunk by chunk."""
        body = ChunkedBody()
        while data := self._read(raw.fp.read1):
            if content := body.decode(data):
                yield content
            if body.problem:
                raise ConnectionLost(self._limits.address, str(body.problem)) from body.problem
            if body.ended:
                self._complete = not body.surplus
                return
        # Some servers leave out what follows the last chunk; http.client does not mind either.
        if not body.last:
            raise ConnectionLost(self._limits.address, "the body ended within its chunks")

    def _read(self, read1: Callable[[int], bytes]) -> bytes:
        try:
            data = read1(_READ_BYTES)
        except _FAILURES as exc:
            if self._line.broken:
                raise _broken_off(self._limits) from exc
            raise _translated(exc, self._url, self._limits, connected=True) from exc
        if self._line.broken:
            # What looks like the end of the body is none.
            raise _broken_off(self._limits)
        return data

    def hang_up(self) -> None:
        """Close the connection, or give it back when nothing is left on it."""
        self._line.end()
        # A request that was cut short would be continued by the next one.
        if self._complete and self._upload.whole and not self._line.broken:
            # For http.client the answer is over only now: it saw neither our chunks nor the end of a length.
            getattr(self._raw, "_fp", self._raw).close()
            self._raw.release_conn()
        else:
            self._raw.close()

    def _announced(self) -> float:
        """Return how many bytes ``Content-Length`` promises; infinite when the framing is another."""
        length = self.headers.get("content-length", "")
        if self._bodiless or "transfer-encoding" in self.headers or not length.isdecimal():
            return math.inf
        return int(length)


def _broken_off(limits: _Limits) -> ConnectionLost:
    return ConnectionLost(limits.address, "the request was cancelled by another thread")


def _translated(exc: Exception, url: str, limits: _Limits, *, connected: bool = False) -> TransportError:
    """Return our error for one of urllib3's or http.client's."""
    match exc:
        case u3.ConnectTimeoutError() if not isinstance(exc, u3.NewConnectionError):
            return TransportTimeout(limits.address, "connect", limits.connect or 0.0)
        case u3.ProxyError():
            return ConnectFailed(limits.address, ConnectCause.PROXY, str(exc.original_error))
        case u3.NewConnectionError():
            return connect_failed(url, exc)
        case u3.LocationParseError() | u3.LocationValueError():
            return ConnectFailed(limits.address, ConnectCause.UNKNOWN_HOST, str(exc))
        case u3.ReadTimeoutError() | TimeoutError():
            return TransportTimeout(limits.address, "read", limits.read or 0.0)
        case u3.SSLError() if not connected:
            return connect_failed(url, exc)
        case _:
            return ConnectionLost(limits.address, _words(exc))


def _words(exc: Exception) -> str:
    """Return what went wrong, without urllib3's words around it: it shows those as a tuple."""
    inner = exc.args[-1] if isinstance(exc, u3.ProtocolError) and exc.args else None
    if isinstance(inner, Exception):
        return _words(inner)
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return text[:1].lower() + text[1:]
