"""Reads manifests and blobs from registries, logged in, and goes on where a connection broke."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Final

import attrs

from ollama_push.client._flows_async import run_flow_async
from ollama_push.client._lanes import Lanes
from ollama_push.core.errors import ConnectionLost, OllamaPushError, PushRejected, TransportError, TransportTimeout
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.credentials import CredentialSource, GivenCredential, Login
from ollama_push.core.registry.effects import Effect, Exclusive, FindCredential
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.responses import MAX_RESPONSE_BYTES, BufferedResponse, SendRequest, failed_request
from ollama_push.core.version import USER_AGENT
from ollama_push.gateway.pull.ranges import Span, WantedRange
from ollama_push.gateway.settings import GatewaySettings

__all__ = ["BlobReading", "Upstream", "UpstreamRefused"]

_OK: Final = 200
_REDIRECTION: Final = 300
_BAD_GATEWAY: Final = 502
_IDENTITIES: Final = 256
"""Repositories, by who asks, whose tokens are kept."""
_KEPT_SECONDS: Final = 600.0
"""After this, a login is looked up again."""
_FAILURES: Final = 5
"""Connections in a row that may break without a byte of the blob."""
_SILENCE_SECONDS: Final = 60.0
_ANYTHING: Final = {"Accept": "*/*"}
"""Of requests whose body is streamed; requests for tokens do not say it."""


class UpstreamRefused(Exception):
    """A registry responds with an error, or with something else than it was asked for.

    Args:
        response: What it responded, without our secrets.
    """

    def __init__(self, response: BufferedResponse) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response


@attrs.define(eq=False)
class _Identity:
    """Who asks for one repository: the tokens, and the lock of those who fetch one."""

    authorizer: Authorizer
    credentials: CredentialSource
    made_at: float
    alone: asyncio.Lock = attrs.field(factory=asyncio.Lock)


@attrs.define(eq=False)
class _Opened:
    """A response whose body has not been read yet; one to a ``HEAD`` may have none."""

    status: int
    headers: Mapping[str, str]
    streamed: AsyncResponse | None


class Upstream:
    """The registries behind a gateway. Belongs to one event loop.

    Args:
        settings: Of the gateway.
        transport: Moves the bytes; it is not closed here.
        credentials: The gateway's logins.
    """

    def __init__(self, settings: GatewaySettings, transport: AsyncTransport, credentials: CredentialSource) -> None:
        self._settings = settings
        self._transport = transport
        self._credentials = credentials
        self._lanes = Lanes()
        self._silence = min(_SILENCE_SECONDS, settings.stall_timeout)
        # In the order of their last use.
        self._identities: dict[tuple[Endpoint, Login | None], _Identity] = {}

    async def ask(
        self, endpoint: Endpoint, method: str, url: str, login: Login | None, headers: Mapping[str, str]
    ) -> BufferedResponse:
        """Return the whole response to a small request.

        Args:
            endpoint: The repository; empty for the registry as such.
            method: ``GET`` or ``HEAD``.
            url: Of something there.
            login: Of the client; ``None`` for the gateway's.
            headers: Sent along.

        Raises:
            UpstreamRefused: The registry responds with an error, or with more than a manifest may have.
            OllamaPushError: There is no response, or no login for it.
        """
        async with self._open(endpoint, method, url, login, headers) as opened:
            if opened.streamed is None:
                return BufferedResponse(opened.status, opened.headers, b"")
            body = await self._read(opened.streamed)
            if len(body) > MAX_RESPONSE_BYTES:
                raise UpstreamRefused(BufferedResponse(_BAD_GATEWAY, {}, b"the response is too long"))
            return BufferedResponse(opened.status, opened.headers, body)

    async def blob_size(self, endpoint: Endpoint, digest: str, login: Login | None) -> int:
        """Return the size of a blob, which is there and may be read; errors are those of :meth:`ask`."""
        url = endpoint.blob(digest)
        response = await self.ask(endpoint, "HEAD", url, login, {})
        span = Span.sent(_OK, response.headers)
        if span is not None and span.total:
            return span.total
        # Some say nothing, or 0, of every blob to a HEAD.
        async with self.blob(endpoint, digest, login, None) as reading:
            return reading.span.total

    @asynccontextmanager
    async def blob(
        self, endpoint: Endpoint, digest: str, login: Login | None, wanted: WantedRange | None
    ) -> AsyncIterator[BlobReading]:
        """Open a blob, or a range of it; leaving the block closes the connection.

        Raises:
            RangeNotSatisfiable: There are no such bytes.
            UpstreamRefused: The registry responds with an error, or does not say what it sends.
            OllamaPushError: There is no response, or no login for it.
        """
        async with AsyncExitStack() as stack:

            async def reopen(start: int, end: int | None) -> tuple[Span, AsyncIterator[bytes]]:
                await stack.aclose()
                last = "" if end is None else end - 1
                headers = {"Range": f"bytes={start}-{last}"} if start or end is not None else {}
                return await self._start(stack, endpoint, digest, login, headers)

            if wanted is None:
                span, chunks = await reopen(0, None)
                yield BlobReading(span, span, chunks, reopen)
                return
            suffix = f"bytes=-{wanted.last}" if wanted.first is None else ""
            headers = {"Range": suffix or f"bytes={wanted.first}-{'' if wanted.last is None else wanted.last}"}
            sent, chunks = await self._start(stack, endpoint, digest, login, headers)
            yield BlobReading(wanted.within(sent.total), sent, chunks, reopen)

    async def _start(
        self, stack: AsyncExitStack, endpoint: Endpoint, digest: str, login: Login | None, headers: Mapping[str, str]
    ) -> tuple[Span, AsyncIterator[bytes]]:
        opened = await stack.enter_async_context(self._open(endpoint, "GET", endpoint.blob(digest), login, headers))
        span = Span.sent(opened.status, opened.headers)
        if span is None or opened.streamed is None:
            raise UpstreamRefused(BufferedResponse(_BAD_GATEWAY, {}, b"the registry does not say what it sends"))
        return span, opened.streamed.chunks()

    @asynccontextmanager
    async def _open(
        self, endpoint: Endpoint, method: str, url: str, login: Login | None, headers: Mapping[str, str]
    ) -> AsyncIterator[_Opened]:
        identity = self._identity(endpoint, login)
        async with AsyncExitStack() as stack:
            held: list[AsyncResponse] = []

            async def perform(effect: Effect) -> Any:
                match effect:
                    case SendRequest(request):
                        return await self._send(request, stack, held)
                    case Exclusive(flow):
                        async with identity.alone:
                            return await run_flow_async(flow, perform)
                    case FindCredential(host, repository):
                        return await self._find(identity.credentials, host, repository)
                raise TypeError(f"{effect!r} reads nothing")

            request = HttpRequest(method, url, {"User-Agent": USER_AGENT, **_ANYTHING, **headers}, b"", self._silence)
            try:
                response = await run_flow_async(identity.authorizer.send(request), perform)
                if isinstance(response, TransportError):
                    raise response
            except OllamaPushError as error:
                identity.authorizer.secrets.hide_in(error)
                if isinstance(error, PushRejected):
                    # What was refused stays refused for this identity; the next request asks anew.
                    self._forget(identity)
                raise
            if response.status >= _REDIRECTION:
                raise UpstreamRefused(response)
            yield _Opened(response.status, response.headers, held[-1] if held else None)

    async def _send(
        self, request: HttpRequest, stack: AsyncExitStack, held: list[AsyncResponse]
    ) -> BufferedResponse | TransportError:
        """Send *request*; the body of a success stays to be read, of the response that *held* gets."""
        streams = request.method == "HEAD" or "Accept" in request.headers
        try:
            async with AsyncExitStack() as opening:
                response = await opening.enter_async_context(self._transport.open(request))
                if streams and response.status < _REDIRECTION:
                    held.append(response)
                    stack.push_async_exit(opening.pop_all())
                    return BufferedResponse(response.status, dict(response.headers), b"")
                return BufferedResponse(response.status, dict(response.headers), await self._read(response))
        except Exception as exc:  # noqa: BLE001 - what is no fault of the network is raised
            return failed_request(exc, self._transport)

    async def _read(self, response: AsyncResponse) -> bytes:
        """Return the body, or its beginning where it is longer than any that is wanted whole."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._silence):
                async for chunk in response.chunks():
                    body += chunk
                    if len(body) > MAX_RESPONSE_BYTES:
                        break
        except TimeoutError as exc:
            raise TransportTimeout("the registry", "response", self._silence) from exc
        return bytes(body)

    async def _find(self, source: CredentialSource, host: str, repository: str) -> Any:
        if isinstance(source, GivenCredential):
            return source.credential
        with self._lanes.in_use():
            return await self._lanes.credential(source, host, repository)

    def _identity(self, endpoint: Endpoint, login: Login | None) -> _Identity:
        key, now = (endpoint, login), time.monotonic()
        identity = self._identities.pop(key, None)
        if identity is None or now - identity.made_at > _KEPT_SECONDS:
            identity = self._new_identity(endpoint, login, now)
        self._identities[key] = identity
        while len(self._identities) > _IDENTITIES:
            del self._identities[next(iter(self._identities))]
        return identity

    def _new_identity(self, endpoint: Endpoint, login: Login | None, now: float) -> _Identity:
        settings = self._settings
        authorizer = Authorizer(
            endpoint,
            (f"repository:{endpoint.repository}:pull",) if endpoint.repository else (),
            settings.plain_http,
            clock=time.monotonic,
            now=time.time,
            nonce=os.urandom,
            read_timeout=self._silence,
        )
        # Plain HTTP is the operator's choice alone: what the gateway shows there, it was told to show.
        return _Identity(authorizer, self._credentials if login is None else GivenCredential(login), now)

    def _forget(self, identity: _Identity) -> None:
        for key in [key for key, each in self._identities.items() if each is identity]:
            del self._identities[key]


class BlobReading:
    """A blob that is read.

    Args:
        span: The bytes that are wanted.
        sent: The bytes that the open response holds: others than these, where a registry knows no ranges.
        chunks: Its body.
        reopen: Opens another response, from a byte to one that is not wanted any more.

    Attributes:
        span: As given.
    """

    def __init__(self, span: Span, sent: Span, chunks: AsyncIterator[bytes], reopen: Any) -> None:
        self.span: Span = span
        self._sent = sent
        self._chunks = chunks
        self._reopen = reopen

    async def chunks(self) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield the bytes; a connection that breaks is opened again behind the last one.

        Raises:
            OllamaPushError: It breaks again and again, or the registry refuses to go on.
            UpstreamRefused: Likewise.
        """
        at, failures = self.span.start, 0
        while True:
            try:
                async with aclosing(self._pieces(at)) as pieces:
                    async for piece in pieces:
                        at += len(piece)
                        failures = 0
                        yield piece
                if at >= self.span.end:
                    return
                error: TransportError = ConnectionLost("", "the blob ended early")
            except TransportError as exc:
                error = exc
            failures += 1
            if failures > _FAILURES:
                raise error
            self._sent, self._chunks = await self._reopen(at, self.span.end)

    async def _pieces(self, at: int) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield what the open response holds of the wanted bytes from *at* on."""
        place = self._sent.start
        if place > at:
            raise UpstreamRefused(BufferedResponse(_BAD_GATEWAY, {}, b"the registry sends another range"))
        async for chunk in self._chunks:
            begin, end = max(at - place, 0), min(self.span.end - place, len(chunk))
            place += len(chunk)
            if begin < end:
                yield chunk if begin == 0 and end == len(chunk) else memoryview(chunk)[begin:end]
            if place >= self.span.end:
                return
