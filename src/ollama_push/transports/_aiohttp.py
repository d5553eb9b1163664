"""The async transport, on aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from ollama_push.core.durations import checked_seconds
from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidSetting,
    MachineMisuse,
    UsedAfterClose,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.redaction import origin_of
from ollama_push.transports._aiohttp_failures import FAILURES, translated, without_headers
from ollama_push.transports._aiohttp_upload import Upload
from ollama_push.transports._framing import body_length, timer
from ollama_push.transports._proxies import proxy_and_login
from ollama_push.transports._tls import ClientCertificate, build_tls_context

__all__ = ["AiohttpTransport"]

# Headers that aiohttp would add: a request goes out as given.
_NOT_OURS: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
# Turns of the event loop that closing may take: a plain socket needs one, TLS some dozen (measured).
_CLOSING_TURNS: Final = 50
# Longest status line or header that is taken, as http.client has it.
_MAX_HEADER_BYTES: Final = 65_536


class AiohttpTransport:
    """Moves bytes with aiohttp. Belongs to the event loop it is first used in.

    Args:
        session: A session to use for everything; it is not closed by us, and its connector's TLS and limits
            hold. It must have ``auto_decompress=False`` to keep the body's bytes as they are.
        connect_timeout: Seconds for DNS, TCP and TLS together.
        read_timeout: Longest silence in seconds for requests that do not say; ``None`` for no limit.
        ca_file: PEM file of CAs to trust in addition to the system's.
        client_cert: Certificate and key to show to the server.
        trust_env: Whether to use the proxies of the environment (never for loopback).
        resolver: Finds the addresses of the hosts that are connected to directly; a proxy's own is found as usual,
            and what is behind it is the proxy's to find. It is not closed by us. Not with *session*, whose
            connector has its own.

    Raises:
        InvalidSetting: A timeout, ``ca_file`` or ``client_cert`` cannot be used, or *resolver* beside *session*.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connect_timeout: float | None = 10.0,
        read_timeout: float | None = 900.0,
        ca_file: str | PathLike[str] | None = None,
        client_cert: ClientCertificate | None = None,
        trust_env: bool = True,
        resolver: AbstractResolver | None = None,
    ) -> None:
        if session is not None and resolver is not None:
            raise InvalidSetting("resolver", resolver, "give it to the connector of your session instead")
        self._session = session
        self._to_proxies: aiohttp.ClientSession | None = None
        self._resolver = resolver
        self._owned = session is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connect_timeout = checked_seconds("connect_timeout", connect_timeout)
        self._read_timeout = checked_seconds("read_timeout", read_timeout)
        self._trust_env = trust_env
        # True: aiohttp's own default context, which it builds once for the process.
        custom = ca_file is not None or client_cert is not None
        self._tls = build_tls_context(ca_file, client_cert) if custom else True
        self._closed = False

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[_Response]:
        """Send *request* and hold its answer; see :mod:`ollama_push.core.ports`."""
        self._require_usable()
        timeout = self._timeout(request)
        upload = Upload(request.body, timeout.sock_read, asyncio.timeout(_longest_wait_for_a_head(request, timeout)))
        raw = await self._send(request, timeout, upload)
        try:
            yield _Response(raw, request.url, timeout, upload)
        finally:
            # A body read to its end has already given the connection back; any other hangs up here.
            raw.close()

    async def _send(
        self, request: HttpRequest, limits: aiohttp.ClientTimeout, upload: Upload
    ) -> aiohttp.ClientResponse:
        """Send *request* and return its answer, of which the head is there."""
        try:
            proxy, login = proxy_and_login(request.url) if self._trust_env and self._owned else (None, {})
            # Through a tunnel the proxy reads its own request, else it reads ours.
            tunnel = request.url.startswith("https:")
            async with upload.head:
                return await self._session_for(proxy).request(
                    request.method,
                    _parsed(request.url),
                    data=upload if len(request.body) else None,
                    headers={**request.headers, **body_length(request), **({} if tunnel else login)},
                    timeout=limits,
                    allow_redirects=False,
                    skip_auto_headers=_NOT_OURS,
                    proxy=proxy,
                    proxy_headers=login if tunnel else None,
                )
        except FAILURES as exc:
            failure = without_headers(exc)
        # Out here the body's own error gets no context: it is raised as it was.
        if upload.error is not None:
            raise upload.error
        raise translated(failure, request.url, limits, upload) from failure

    async def aclose(self) -> None:
        """Close the session unless it was injected. Idempotent."""
        self._closed = True
        if self._owned and (own := [each for each in (self._session, self._to_proxies) if each is not None]):
            for session in own:
                await session.close()
            # asyncio closes sockets later than it is told to; a loop that ends before leaves them open.
            for _ in range(_CLOSING_TURNS):
                await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _require_usable(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise MachineMisuse(f"this {type(self).__name__} belongs to another event loop; build one in each loop")
        self._loop = loop
        if self._session is not None and self._session.closed:
            raise UsedAfterClose(type(self._session).__name__)

    def _session_for(self, proxy: str | None) -> aiohttp.ClientSession:
        if proxy is not None and self._resolver is not None:
            # One of its own: connectors remember what a name led to, whoever resolved it.
            self._to_proxies = self._to_proxies or _new_session(self._tls, None)
            return self._to_proxies
        self._session = self._session or _new_session(self._tls, self._resolver)
        return self._session

    def _timeout(self, request: HttpRequest) -> aiohttp.ClientTimeout:
        silence = self._read_timeout if request.read_timeout is None else request.read_timeout
        return aiohttp.ClientTimeout(
            total=None,
            connect=timer(self._connect_timeout),
            sock_connect=timer(self._connect_timeout),
            sock_read=timer(silence),
        )


def _new_session(tls: ssl.SSLContext | bool, resolver: AbstractResolver | None) -> aiohttp.ClientSession:  # noqa: FBT001 - as aiohttp has it
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
    )
    # aiohttp sends idempotent requests again on its own; when to retry is not a transport's to decide.
    session._retry_connection = False  # noqa: SLF001 - there is no public switch
    return session


class _Response:
    """An answer while it arrives."""

    def __init__(self, raw: aiohttp.ClientResponse, url: str, timeout: aiohttp.ClientTimeout, upload: Upload) -> None:
        self._raw = raw
        self._url = url
        self._timeout = timeout
        self._upload = upload
        self.status: int = raw.status
        # Only here is the connection's own end the body's end; aiohttp then takes a reset for one, too.
        ends_with_connection = "Transfer-Encoding" not in raw.headers and "Content-Length" not in raw.headers
        protocol = raw.connection.protocol if raw.connection is not None else None
        self._protocol = protocol if ends_with_connection else None
        closed = protocol.closed if protocol is not None else None
        if closed is not None:
            closed.add_done_callback(self._wake)
        names = {name.lower() for name in raw.headers}
        self.headers: Mapping[str, str] = {name: ", ".join(raw.headers.getall(name)) for name in names}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        content = self._raw.content
        while True:
            try:
                data = await content.readany()
            except FAILURES as exc:
                # aiohttp raises before it hands over what it still holds.
                if held := _held_by(content):
                    yield held
                if self._upload.error is not None:
                    raise self._upload.error  # noqa: B904 - as it was raised, not from what came of it
                raise translated(exc, self._url, self._timeout, self._upload, answered=True) from exc
            if not data:
                self._require_orderly_end()
                return
            yield data

    def _wake(self, closed: asyncio.Future[None]) -> None:
        """End the reading of a body whose framing aiohttp gave up on: it drops its timeout and tells nobody."""
        if not closed.cancelled():
            closed.exception()  # or asyncio complains that nobody asked
        content = self._raw.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))

    def _require_orderly_end(self) -> None:
        exc = self._protocol.exception() if self._protocol is not None else None
        if isinstance(exc, OSError):
            raise ConnectionLost(origin_of(self._url), str(exc)) from exc


def _parsed(url: str) -> URL:
    parsed = URL(url, encoded=True)
    try:
        _ = parsed.port
    except ValueError as exc:
        raise ConnectFailed(origin_of(url), ConnectCause.UNKNOWN_HOST, str(exc)) from exc
    return parsed


def _held_by(content: aiohttp.StreamReader) -> bytes:
    take = getattr(content, "_read_nowait", None)
    return bytes(take(-1)) if take is not None else b""


def _longest_wait_for_a_head(request: HttpRequest, timeout: aiohttp.ClientTimeout) -> float | None:
    """Return the seconds after which no head can come within the limits; ``None`` when that cannot be told.

    aiohttp stops its own read timer at an interim answer (100 Continue) and would wait for ever.
    """
    if timeout.sock_read is None or timeout.connect is None or len(request.body):
        return None
    return timeout.connect + 2 * timeout.sock_read
