"""The sync transport, on urllib3."""

from __future__ import annotations

import http.client
import math
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from os import PathLike
from typing import Any, Final, Self

import attrs
import urllib3
from urllib3 import exceptions as u3

from ollama_push.core.arguments import DEFAULT_SECONDS, checked_seconds
from ollama_push.core.errors import ConnectCause, ConnectionLost, TransportError, UsedAfterClose
from ollama_push.core.ports import HttpRequest
from ollama_push.core.raisers import raise_as_it_is, raised_by_signal
from ollama_push.transports._certificates import HostCertificates
from ollama_push.transports._failures import connect_failed, refused_certificate, unreached_proxy
from ollama_push.transports._framing import ChunkedBody, RequestLimits, response_headers
from ollama_push.transports._machine import ClientCertificate, Proxy, proxy_for
from ollama_push.transports._process import PerProcess
from ollama_push.transports._socks import require_socks
from ollama_push.transports._urllib3_cancel import SENT_HERE, ActiveRequests, CancellableRequest
from ollama_push.transports._urllib3_internals import (
    BodyFailed,
    UploadBody,
    chunked_reader,
    close_pools,
    plain_reader,
    read_at_once,
    release,
    socket_below,
    use_own_connections,
)

__all__ = ["Urllib3Transport"]

_READ_BYTES: Final = 65536
# How long what has arrived may take to be read, once the time for it is over.
_CATCH_UP_SECONDS: Final = 0.2
_POOLED_CONNECTIONS: Final = 64
"""Idle connections that are kept to one host: several pushes of one client run at the same time."""
# What urllib3 and, below it, http.client raise for a peer or a network.
_FAILURES: Final = (u3.HTTPError, http.client.HTTPException, OSError, ValueError)


@attrs.define(eq=False)
class _Connections:
    """What one process has of a transport.

    Attributes:
        requests: Those under way.
        pools: By proxy and TLS context.
    """

    requests: ActiveRequests = attrs.field(factory=ActiveRequests)
    pools: dict[tuple[Proxy | None, ssl.SSLContext | None], urllib3.PoolManager] = attrs.field(factory=dict)

    def close_idle(self) -> None:
        """Close all idle connections, and forget their pools."""
        while self.pools:
            close_pools(self.pools.popitem()[1])


class Urllib3Transport:
    """Moves bytes with urllib3. Safe to share between threads; a forked process opens its own connections.

    Args:
        pool: A pool manager to use for all requests. It is not closed by this transport, and its own settings
            decide about proxies, TLS and how long a peer may take no bytes (urllib3's default: the connect timeout).
            ``cancel`` then wakes no thread that waits for a head: its request ends with the next byte of its response.
            A forked process clears its copy of it.
        connect_timeout: Seconds for DNS, TCP and TLS together, for each address.
        read_timeout: Longest silence in seconds, 900 by default; ``None`` for no limit. Of this and the limit of a
            client, the shorter one counts; one that nobody chose does not count beside another.
        ca_file: PEM file of CAs to trust in addition to the system's.
        client_cert: Certificate and key to show to the server.
        trust_env: Whether to use the proxies of the environment (never for loopback), and docker's and podman's
            ``certs.d``.

    Raises:
        InvalidSetting: A timeout, ``ca_file`` or ``client_cert`` cannot be used.
    """

    def __init__(
        self,
        pool: urllib3.PoolManager | None = None,
        *,
        connect_timeout: float | None = 10.0,
        read_timeout: float | None = DEFAULT_SECONDS,
        ca_file: str | PathLike[str] | None = None,
        client_cert: ClientCertificate | None = None,
        trust_env: bool = True,
    ) -> None:
        self._injected = pool
        self._connections = PerProcess(_Connections, lambda _: None if pool is None else pool.clear())
        self._connect_timeout = checked_seconds("connect_timeout", connect_timeout)
        self._read_timeout = checked_seconds("read_timeout", read_timeout)
        self._trust_env = trust_env
        self._certificates = HostCertificates(ca_file, client_cert, search=trust_env)
        self._closed = False

    def open(self, request: HttpRequest, /) -> AbstractContextManager[_Response]:
        """Send *request* and hold its response; see :mod:`ollama_push.core.ports`."""
        # Known from here on, so that there is no moment in which ``cancel`` would come too early.
        return self._opened(self._connections.get().requests.add(request))

    def cancel(self, request: HttpRequest, /) -> None:
        """Cancel *request*; see :class:`ollama_push.core.ports.CancelsRequests`."""
        self._connections.get().requests.cancel(request)

    def close(self) -> None:
        """Close all idle connections; an injected pool stays open. Idempotent."""
        self._closed = True
        self._connections.get().close_idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextmanager
    def _opened(self, active: CancellableRequest) -> Iterator[_Response]:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        request = active.request
        limits = RequestLimits.of(request, self._connect_timeout, self._read_timeout)
        upload = UploadBody(request.body, limits.read, request.hold_seconds)
        with self._connections.get().requests.entered(active):
            raw = self._send(active, limits, upload)
            try:
                response = _Response(raw, active, limits, upload)
            except ConnectionLost:
                raw.close()
                raise
            try:
                yield response
            finally:
                response.close()

    def _send(self, active: CancellableRequest, limits: RequestLimits, upload: UploadBody) -> urllib3.BaseHTTPResponse:
        """Send the request and return its response, of which the head has arrived."""
        request = active.request
        size = len(request.body)
        # Without it, urllib3 sends a body of several buffers chunked.
        length = {"Content-Length": str(size)} if size else {}
        token = SENT_HERE.set(active)
        try:
            return self._pool_for(request.url).request(
                request.method,
                request.url,
                body=upload if size else None,  # type: ignore[arg-type]  # it takes any iterable
                headers={**_on_the_wire(request.headers), **length},
                timeout=urllib3.Timeout(connect=limits.connect, read=limits.read),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except BodyFailed as exc:
            raise_as_it_is(exc.error)
        except _FAILURES as exc:
            if (foreign := raised_by_signal(exc)) is not None:
                raise_as_it_is(foreign)
            if active.cancelled:
                raise _cancelled(limits) from exc
            if upload.stalled:
                raise limits.exceeded("write") from exc
            refused = refused_certificate(limits.url, exc)
            active.sent.body_bytes = upload.sent_bytes
            in_use = upload.started or active.sent.kept
            error = _translated(exc, limits, connected=active.sent.connected, in_use=in_use)
            raise (refused or active.sent.judged(error)) from exc
        finally:
            SENT_HERE.reset(token)

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        if self._injected is not None:
            return self._injected
        proxy = proxy_for(url) if self._trust_env else None
        tls = self._certificates.context_for(url)
        pools = self._connections.get().pools
        pool = pools.get((proxy, tls))
        if pool is None:
            if proxy is not None and proxy.is_socks:
                require_socks(url)
            # setdefault: two threads may get here at once, and both must end up with one pool.
            pool = pools.setdefault((proxy, tls), self._new_pool(proxy, tls))
        return pool

    def _new_pool(self, proxy: Proxy | None, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": _POOLED_CONNECTIONS, "ssl_context": tls}
        if proxy is None or proxy.is_socks:
            return use_own_connections(urllib3.PoolManager(**options), proxy)
        return use_own_connections(urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, **options))


class _Response:
    """A response while it arrives."""

    def __init__(
        self, raw: urllib3.BaseHTTPResponse, active: CancellableRequest, limits: RequestLimits, upload: UploadBody
    ) -> None:
        self._raw = raw
        # RFC 9110, 6.4.1: whatever length these announce, they have no body.
        self._bodiless = active.request.method == "HEAD" or raw.status in (204, 304)
        self._active = active
        if not (active.has_socket or active.cancelled) and (sock := socket_below(raw)) is not None:
            active.uses(sock)  # of an injected pool, whose connections do not tell
        self._limits = limits
        self._upload = upload
        self.status: int = raw.status
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in raw.headers.items()]
        self.headers: Mapping[str, str] = response_headers(divmod(raw.version, 10), raw.status, fields, limits)
        # A body that does not exist need not be read to keep the connection.
        self._complete = self._bodiless or not self._announced()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        if self._bodiless:
            return
        below_chunks = chunked_reader(self._raw)
        if below_chunks is not None:
            yield from self._chunked(below_chunks)
            return
        if "transfer-encoding" in self.headers:
            # A connection of an injected pool, whose library does not see what we see.
            raise self._limits.lost("the body has a transfer coding in an unusual form")
        read1 = plain_reader(self._raw)
        missing = self._announced()
        while data := self._read(read1):
            missing -= len(data)
            # Who has what was announced need not ask for more, and the connection is kept all the same.
            self._complete = missing <= 0
            yield data
        if 0 < missing < math.inf:
            raise self._limits.lost(f"{missing} bytes of the body are missing")
        self._complete = True

    def _chunked(self, read1: Callable[[int], bytes]) -> Iterator[bytes]:
        body = ChunkedBody()
        due, late = self._due(), False
        while data := self._read(read1):
            content = body.decode(data)
            self._complete = body.ended and not body.surplus
            if content:
                yield content
                due, late = self._due(), False
            elif time.monotonic() > due:
                # Extensions and trailers that drip are as good as silence. But a process that was stopped (SIGSTOP)
                # first reads what has arrived meanwhile.
                if late:
                    raise self._limits.exceeded("read") from TimeoutError("no byte of the body")
                due, late = time.monotonic() + _CATCH_UP_SECONDS, True
            if body.problem:
                raise self._limits.lost(str(body.problem)) from body.problem
            if body.ended:
                return
        raise self._limits.lost("the body ended within its chunks")

    def _due(self) -> float:
        return time.monotonic() + (math.inf if self._limits.read is None else self._limits.read)

    def _read(self, read1: Callable[[int], bytes]) -> bytes:
        try:
            data = read1(_READ_BYTES)
        except _FAILURES as exc:
            if (foreign := raised_by_signal(exc)) is not None:
                raise_as_it_is(foreign)
            if self._active.cancelled:
                raise _cancelled(self._limits) from exc
            # A process that was stopped (SIGSTOP) may be told of its timeout before what has arrived meanwhile.
            data = read_at_once(self._raw, read1, _READ_BYTES) if isinstance(exc, TimeoutError) else b""
            if not data:
                raise _translated(exc, self._limits, connected=True, in_use=True) from exc
        if self._active.cancelled:
            # The shut-down socket reads like the end of the body.
            raise _cancelled(self._limits)
        return data

    def close(self) -> None:
        """Close the connection, or return it to the pool when nothing is left on it."""
        # A body that was not sent completely would be continued by the next request.
        if self._complete and self._upload.complete and not self._active.cancelled:
            self._active.end()
            release(self._raw)
        else:
            self._active.hang_up()
            self._raw.close()

    def _announced(self) -> float:
        """Return how many bytes ``Content-Length`` announces; infinite when the body is framed otherwise."""
        length = self.headers.get("content-length", "")
        if self._bodiless or not length:
            return math.inf
        return int(length)


def _on_the_wire(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return *headers* such that http.client, which writes Latin-1, writes UTF-8, as aiohttp and Go's client do."""
    return {name: text if text.isascii() else text.encode().decode("latin-1") for name, text in headers.items()}


def _cancelled(limits: RequestLimits) -> ConnectionLost:
    return limits.lost("the request was cancelled by another thread")


def _translated(exc: Exception, limits: RequestLimits, *, connected: bool, in_use: bool) -> TransportError:
    """Return our error for one of urllib3's or http.client's.

    Args:
        exc: Theirs.
        limits: Of the request.
        connected: Whether the request got a connection.
        in_use: Whether more than a handshake has gone over it: the peer may refuse that after its end (TLS 1.3).
    """
    match exc:
        case u3.NewConnectionError():  # in urllib3 2 a kind of ConnectTimeoutError
            return connect_failed(limits.url, exc)
        case u3.ConnectTimeoutError():
            return limits.exceeded("connect")
        case u3.ProxyError() if not connected:  # urllib3 says so, too, when the proxy closes a connection later
            return limits.unreached(ConnectCause.PROXY, _proxy_words(exc.original_error))
        case u3.LocationParseError() | u3.LocationValueError():
            return limits.unreached(ConnectCause.UNKNOWN_HOST, str(exc))
        case u3.ReadTimeoutError() | TimeoutError():
            return limits.exceeded("read")
        case u3.SSLError() if not in_use:
            return connect_failed(limits.url, exc)
        case _:
            return limits.lost(_words(exc))


def _proxy_words(exc: Exception) -> str:
    return unreached_proxy(exc.conn.host, exc.conn.port, exc) if isinstance(exc, u3.NewConnectionError) else str(exc)


def _words(exc: Exception) -> str:
    """Return what went wrong, without what urllib3 adds around it, which it shows as a tuple."""
    if isinstance(exc, u3.ProxyError):
        return _words(exc.original_error)
    inner = exc.args[-1] if isinstance(exc, u3.ProtocolError) and exc.args else None
    if isinstance(inner, Exception):
        return _words(inner)
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return text[:1].lower() + text[1:]
