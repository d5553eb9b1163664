"""The async transport, on aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from typing import Final, Self, cast
from urllib.parse import urlsplit

import aiohttp
import attrs
import multidict
from aiohttp.abc import AbstractResolver
from yarl import URL

from ollama_push.core.arguments import DEFAULT_SECONDS, checked_seconds
from ollama_push.core.errors import ConnectCause, InvalidSetting, MachineMisuse, TransportError, UsedAfterClose
from ollama_push.core.ports import HttpRequest
from ollama_push.core.raisers import raise_as_it_is, raised_by_signal
from ollama_push.transports._aiohttp_internals import (
    CONNECTED_HERE,
    AbortingConnector,
    ConnectionWatch,
    UploadPayload,
    hang_up,
    head_timer,
    leave_to_parent,
    take_buffered,
    without_retries,
)
from ollama_push.transports._certificates import HostCertificates
from ollama_push.transports._event_loop import SilenceLimit, running_loop
from ollama_push.transports._failures import connect_failed, refused_certificate, unreached_proxy
from ollama_push.transports._framing import RequestLimits, response_headers
from ollama_push.transports._machine import ClientCertificate, Proxy, proxy_for
from ollama_push.transports._process import PerProcess
from ollama_push.transports._socks import require_socks

__all__ = ["AiohttpTransport"]

# What aiohttp raises for a peer or a network; RuntimeError when a connection closed between two of its own steps.
_FAILURES: Final = (aiohttp.ClientError, OSError, ValueError, RuntimeError)
# Headers that aiohttp would add: a request goes out as given.
_HEADERS_NOT_GIVEN: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
# Iterations of the event loop that closing may take: a plain socket needs one, TLS some dozen (measured).
_CLOSING_ITERATIONS: Final = 50
# Longest status line or header that is accepted, as in http.client.
_MAX_HEADER_BYTES: Final = 65_536


@attrs.define(eq=False)
class _Sessions:
    """What one process has of a transport; it belongs to an event loop.

    Attributes:
        loop: Where it is used.
        usual: Sends the requests.
        through_proxies: Send those through a proxy, where it is not the usual one.
    """

    loop: asyncio.AbstractEventLoop | None = None
    usual: aiohttp.ClientSession | None = None
    through_proxies: dict[Proxy | None, aiohttp.ClientSession] = attrs.field(factory=dict)

    def __iter__(self) -> Iterator[aiohttp.ClientSession]:
        return iter([*([] if self.usual is None else [self.usual]), *self.through_proxies.values()])


class AiohttpTransport:
    """Moves bytes with aiohttp. Belongs to the event loop it is first used in.

    A forked process may use it in an event loop of its own, and opens its own connections.

    Args:
        session: A session to use for all requests. It is not closed by this transport, and the TLS settings and limits
            of its connector hold. It must have ``auto_decompress=False`` to keep the body's bytes as they are.
        connect_timeout: Seconds for DNS, TCP and TLS together.
        read_timeout: Longest silence in seconds, 900 by default; ``None`` for no limit. Of this and the limit of a
            client, the shorter one counts; one that nobody chose does not count beside another.
        ca_file: PEM file of CAs to trust in addition to the system's.
        client_cert: Certificate and key to show to the server.
        trust_env: Whether to use the proxies of the environment (never for loopback), and docker's and podman's
            ``certs.d``.
        resolver: Finds the addresses of hosts without a proxy. The address of a proxy is found as usual, and a proxy
            finds those behind it. It is not closed by this transport. Not with *session*, whose connector has
            its own.

    Raises:
        InvalidSetting: A timeout, ``ca_file`` or ``client_cert`` cannot be used, or *resolver* beside *session*.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connect_timeout: float | None = 10.0,
        read_timeout: float | None = DEFAULT_SECONDS,
        ca_file: str | PathLike[str] | None = None,
        client_cert: ClientCertificate | None = None,
        trust_env: bool = True,
        resolver: AbstractResolver | None = None,
    ) -> None:
        if session is not None and resolver is not None:
            raise InvalidSetting("resolver", resolver, "give it to the connector of your session instead")
        self._sessions = PerProcess(_Sessions, _leave)
        self._sessions.get().usual = session
        self._resolver = resolver
        self._owned = session is None
        self._connect_timeout = checked_seconds("connect_timeout", connect_timeout)
        self._read_timeout = checked_seconds("read_timeout", read_timeout)
        self._trust_env = trust_env
        self._certificates = HostCertificates(ca_file, client_cert, search=trust_env and self._owned)
        self._closed = False

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[_Response]:
        """Send *request* and hold its response; see :mod:`ollama_push.core.ports`."""
        own = self._require_usable()
        limits = RequestLimits.of(request, self._connect_timeout, self._read_timeout)
        upload = UploadPayload(request.body, limits.read, request.hold_seconds)
        raw = await self._send(request, limits, upload)
        # Without a connection the body has arrived completely.
        watch = None if raw.connection is None else ConnectionWatch(raw)
        try:
            yield _Response(raw, limits, upload, watch)
        finally:
            if watch is not None:
                watch.stop()
            # Not in a child that was forked meanwhile: the parent goes on. Nor when the body was read to its end,
            # which has returned the connection to the pool.
            if own is self._sessions.get():
                hang_up(raw.connection)
                raw.close()

    async def _send(self, request: HttpRequest, limits: RequestLimits, upload: UploadPayload) -> aiohttp.ClientResponse:
        """Send *request* and return its response, of which the head has arrived."""
        upload.sent.fresh, upload.sent.bodiless = request.fresh, request.method == "HEAD"
        token = CONNECTED_HERE.set(upload.sent)
        try:
            proxy = proxy_for(request.url) if self._trust_env and self._owned else None
            if proxy is not None and proxy.is_socks:
                require_socks(request.url)
            http_proxy = None if proxy is None or proxy.is_socks else proxy
            login = {} if http_proxy is None else http_proxy.headers
            # The proxy reads the headers of its own request for a tunnel; without a tunnel it reads those of ours.
            tunnel = request.url.startswith("https:")
            size = len(request.body)
            # Without it, aiohttp sends a body of several buffers chunked.
            length = {"Content-Length": str(size)} if size else {}
            async with upload.head:
                if not self._owned and upload.empty and limits.connect is not None:
                    upload.wait_for_head(limits.connect)  # a session of others does not tell when it has sent
                return await self._session_for(proxy).request(
                    request.method,
                    _parsed(request.url, limits),
                    data=upload if size else None,
                    headers={**_host_without_zone(request), **request.headers, **length, **({} if tunnel else login)},
                    timeout=_client_timeout(limits),
                    allow_redirects=False,
                    skip_auto_headers=_HEADERS_NOT_GIVEN,
                    # True: the connector's, which is aiohttp's own default context, built once for the process.
                    ssl=(self._certificates.context_for(request.url) if self._owned else None) or True,
                    proxy=None if http_proxy is None else http_proxy.url,
                    proxy_headers=login if tunnel else None,
                    trace_request_ctx=upload,
                )
        except _FAILURES as exc:
            if (foreign := raised_by_signal(exc)) is not None:
                raise_as_it_is(foreign)
            failure = _without_headers(exc)
        finally:
            CONNECTED_HERE.reset(token)
        # Outside the except clause the body's own error gets no context: it is raised as it was.
        if upload.error is not None:
            raise upload.error
        refused = refused_certificate(limits.url, failure)
        raise (refused or upload.sent.judged(_translated(failure, limits, upload))) from failure

    async def aclose(self) -> None:
        """Close the session unless it was injected. Idempotent."""
        self._closed = True
        if self._owned and (own := list(self._sessions.get())):
            for session in own:
                await session.close()
            # asyncio closes a socket some iterations after close(); a loop that ends before leaves it open.
            for _ in range(_CLOSING_ITERATIONS):
                await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    def _require_usable(self) -> _Sessions:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        loop, own = running_loop(self), self._sessions.get()
        if not self._owned and own.usual is None:
            raise MachineMisuse(f"the session of this {type(self).__name__} is another process's; a fork needs its own")
        if own.loop not in (None, loop):
            raise MachineMisuse(f"this {type(self).__name__} belongs to another event loop; build one in each loop")
        own.loop = loop
        if own.usual is not None and own.usual.closed:
            raise UsedAfterClose(type(own.usual).__name__)
        return own

    def _session_for(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        own = self._sessions.get()
        if proxy is not None and (proxy.is_socks or self._resolver is not None):
            # A session of its own: a connector caches the addresses of a name, whichever resolver found them. Behind a
            # SOCKS proxy that does not find hosts itself, the addresses are of the kind that we connect to.
            socks = proxy if proxy.is_socks else None
            if socks not in own.through_proxies:
                own.through_proxies[socks] = _new_session(self._resolver if socks else None, socks)
            return own.through_proxies[socks]
        own.usual = own.usual or _new_session(self._resolver)
        return own.usual


def _leave(inherited: _Sessions) -> None:
    for session in inherited:
        leave_to_parent(session)


def _client_timeout(limits: RequestLimits) -> aiohttp.ClientTimeout:
    # aiohttp's default is a total of 300 s, which would end long pushes.
    # Its limit of a silence would end the waits of a process that was stopped; see SilenceLimit.
    return aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_connect=limits.connect, sock_read=None)


def _new_session(resolver: AbstractResolver | None, socks: Proxy | None = None) -> aiohttp.ClientSession:
    return without_retries(
        aiohttp.ClientSession(
            connector=AbortingConnector(resolver, socks),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            trace_configs=[head_timer()],
        )
    )


class _Response:
    """A response while it arrives."""

    def __init__(
        self, raw: aiohttp.ClientResponse, limits: RequestLimits, upload: UploadPayload, watch: ConnectionWatch | None
    ) -> None:
        self._raw = raw
        self._limits = limits
        self._upload = upload
        self._watch = watch
        self.status: int = raw.status
        self.headers: Mapping[str, str] = response_headers(raw.version or (0, 9), raw.status, raw.raw_headers, limits)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        content = self._raw.content
        while True:
            try:
                # aiohttp's own timeout starts again with each byte, be it of an extension or a trailer.
                async with SilenceLimit(self._limits.read):
                    data = await content.readany()
            except _FAILURES as exc:
                if (foreign := raised_by_signal(exc)) is not None:
                    raise_as_it_is(foreign)
                if buffered := take_buffered(content):
                    yield buffered
                if self._upload.error is not None:
                    raise self._upload.error  # noqa: B904 - as it was raised, not from what came of it
                raise _translated(_without_headers(exc), self._limits, self._upload, responded=True) from exc
            if not data:
                self._require_orderly_end()
                return
            yield data

    def _require_orderly_end(self) -> None:
        # Only without both headers does the body end with the connection (RFC 9112, 6.3).
        ends_with_connection = self.headers.keys().isdisjoint(("transfer-encoding", "content-length"))
        if ends_with_connection and self._watch is not None and (exc := self._watch.error()):
            raise self._limits.lost(str(exc)) from exc


def _parsed(url: str, limits: RequestLimits) -> URL:
    parsed = URL(url, encoded=True)
    try:
        _ = parsed.port
    except ValueError as exc:
        raise limits.unreached(ConnectCause.UNKNOWN_HOST, str(exc)) from exc
    return parsed


def _host_without_zone(request: HttpRequest) -> Mapping[str, str]:
    """Return the header ``Host`` for a URL with a zone, which means nothing to the peer (RFC 6874, 4)."""
    netloc = urlsplit(request.url).netloc.rpartition("@")[2]
    address, percent, rest = netloc.partition("%")
    return {"Host": f"{address}]{rest.partition(']')[2]}"} if percent else {}


def _without_headers(exc: Exception) -> Exception:
    """Return *exc* without the headers of either side.

    The request's may hold a secret, which a traceback would show. None of them pickle, and programs that send errors
    with their causes to other machines, such as dask by means of tblib, would lose the whole error.
    """
    if isinstance(exc, aiohttp.ClientResponseError):
        info = exc.request_info
        headers = cast("multidict.CIMultiDictProxy[str]", multidict.CIMultiDict[str]())  # a proxy of it does not pickle
        exc.request_info = aiohttp.RequestInfo(info.url, info.method, headers, info.real_url)
        exc.args = (exc.request_info, exc.history)
        exc.headers = None
    elif isinstance(exc, aiohttp.ServerDisconnectedError) and not isinstance(exc.message, str):
        exc.message = "the head is incomplete"  # instead of what there is of it
        exc.args = (exc.message,)
    return exc


def _translated(
    exc: Exception, limits: RequestLimits, upload: UploadPayload, *, responded: bool = False
) -> TransportError:
    """Return our error for one of aiohttp's."""
    match exc:
        case _ if upload.stalled:
            return limits.exceeded("write")
        case aiohttp.ConnectionTimeoutError():
            return limits.exceeded("connect")
        case TimeoutError():
            return limits.exceeded("read")
        case aiohttp.ClientProxyConnectionError(host=host, port=port):
            return limits.unreached(ConnectCause.PROXY, unreached_proxy(host, port, exc))
        case aiohttp.ClientHttpProxyError():
            return limits.unreached(ConnectCause.PROXY, str(exc))
        case aiohttp.ClientConnectorError() if not responded:
            return connect_failed(limits.url, exc)
        case UnicodeError() if not responded:  # a label of more than 63 characters
            return limits.unreached(ConnectCause.UNKNOWN_HOST, str(exc))
        case aiohttp.InvalidURL():
            return limits.unreached(ConnectCause.UNKNOWN_HOST, "this is no URL")
        case aiohttp.ClientResponseError(message=message):
            return limits.lost(message.partition("\n")[0])  # the other lines show the bytes
        case _:
            return limits.lost(str(exc))
