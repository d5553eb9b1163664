"""Serves what a registry serves to those who pull: its root, manifests, blobs, lists of tags; nothing can be written.

Source: distribution-spec v1.1.1, "Pull", "Listing Tags"; ollama ``server/download.go`` at fb3076099.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from aiohttp import BasicAuth, web

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.observations import PushOutcome
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES, announced_digest, digest_of, is_sha256_digest
from ollama_push.gateway.connections import abort_unread
from ollama_push.gateway.pull.cache import BlobCache, CachedReading, CacheUnusable
from ollama_push.gateway.pull.direct_urls import DIRECT_PATH, DirectUrls
from ollama_push.gateway.pull.paths import PullTarget, is_reference, target_for
from ollama_push.gateway.pull.ranges import RangeNotSatisfiable, WantedRange
from ollama_push.gateway.pull.refusals import API_VERSION, PullRefused, refusal_of
from ollama_push.gateway.pull.upstream import BlobReading, Upstream, UpstreamRefused
from ollama_push.gateway.pull_history import PullHistory, RunningPull
from ollama_push.gateway.settings import GatewaySettings
from ollama_push.gateway.stream import TimedStream, is_gone

__all__ = ["PullHandler"]

_CHECK_SECONDS: Final = 0.25
"""Time between two checks that a client is still there: while a registry is silent, nothing else notices."""
_MAX_ACCEPT_CHARACTERS: Final = 2048
_BLOB: Final = "application/octet-stream"
_ACCEPT: Final = ", ".join(MANIFEST_MEDIA_TYPES)

Reading = BlobReading | CachedReading
_Work = Callable[[web.Request, RunningPull], Awaitable[web.StreamResponse]]


class PullHandler:
    """The pulls of one gateway.

    Args:
        settings: As for the gateway.
        history: Where pulls are counted.

    Attributes:
        settings: As given.
        history: As given.
    """

    def __init__(self, settings: GatewaySettings, history: PullHistory) -> None:
        self.settings: GatewaySettings = settings
        self.history: PullHistory = history
        self._cache: BlobCache | None = None
        self._upstream: Upstream | None = None
        self._find_key: Callable[[], Awaitable[bytes]] | None = None
        self._key_lock = asyncio.Lock()
        self._direct_urls: DirectUrls | None = None
        self._sending: set[asyncio.Future[web.StreamResponse]] = set()

    def add_routes(self, app: web.Application) -> None:
        """Serve ``/v2/`` and the addresses that blobs are redirected to from *app*."""
        app.router.add_get("/v2/", self._refusing(self._ping))
        app.router.add_get(
            "/v2/{name:.+}/manifests/{reference}", self._refusing(self._counted("manifest", self._manifest))
        )
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self._refusing(self._blob))
        app.router.add_get("/v2/{name:.+}/tags/list", self._refusing(self._tags))
        app.router.add_get(DIRECT_PATH + "{name:.+}/blobs/{digest}", self._refusing(self._direct))

    def start(self, upstream: Upstream, cache: BlobCache | None, find_key: Callable[[], Awaitable[bytes]]) -> None:
        """Serve from now on, from *upstream* and *cache*; what *find_key* returns signs the addresses of blobs."""
        self._cache = cache
        self._find_key = find_key
        self._upstream = upstream

    def shut_down(self) -> None:
        """Cancel all that is being sent; a client that comes back goes on where it was."""
        self._upstream = None
        for sending in self._sending:
            sending.cancel()

    # --- what is served

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        """Say that this is a registry; where it wants a login that is missing or wrong, that."""
        target = self._target("x")
        endpoint = Endpoint(target.endpoint.host, target.endpoint.origin, "")
        try:
            await self._registry().ask(endpoint, "GET", endpoint.base, self._login(request), {})
        except (OllamaPushError, UpstreamRefused) as exc:
            # Whatever else is wrong there, the gateway is here.
            refusal = refusal_of(exc)
            if refusal.status == HTTPStatus.UNAUTHORIZED:
                raise refusal from exc
        return web.Response(body=b"{}", headers={**API_VERSION, "Content-Type": "application/json"})

    async def _manifest(self, request: web.Request, pull: RunningPull) -> web.StreamResponse:
        target, reference = self._asked(request), request.match_info["reference"]
        if not is_reference(reference):
            raise PullRefused(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", "this is neither a tag nor a digest")
        accept = {"Accept": _accepted(request)}
        endpoint = target.endpoint
        given = await self._registry().ask(endpoint, "GET", endpoint.manifest(reference), self._login(request), accept)
        digest = digest_of(given.body)
        if is_sha256_digest(reference) and digest != reference:
            raise PullRefused(HTTPStatus.BAD_GATEWAY, "DIGEST_INVALID", "the registry sends another manifest than this")
        if announced_digest(given.headers, given.body):
            # Whoever pulls by tag checks it by our header alone.
            text = "the registry sends another manifest than it announces"
            raise PullRefused(HTTPStatus.BAD_GATEWAY, "DIGEST_INVALID", text)
        pull.finish(PushOutcome.SUCCEEDED)
        kind = given.headers.get("content-type") or _media_type(given.body)
        headers = {**API_VERSION, "Content-Type": kind, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        return web.Response(body=given.body, headers=headers)

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        target, digest = self._asked(request), self._digest(request)
        # Who sends no login, as Ollama, wants a redirect to another host name; all others need none.
        at_once = request.method == "GET" and "Authorization" in request.headers
        if at_once and self._cache is None:
            return await self._counted("blob", self._send_blob)(request)
        # The registry says whether this client may have it, also where the cache has it.
        size = await self._registry().blob_size(target.endpoint, digest, self._login(request))
        if request.method == "HEAD":
            return _size_response(digest, size)
        host = request.headers.get("Host", "")
        url = None if at_once else (await self._urls()).url(target, digest, size, host)
        if url is None:
            return await self._counted("blob", self._send_blob)(request)
        return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={**API_VERSION, "Location": url})

    async def _direct(self, request: web.Request) -> web.StreamResponse:
        """Send a blob to whom a signed address was given."""
        name, digest = request.match_info["name"], request.match_info["digest"]
        expires, signature = (request.query.get(key, "") for key in ("expires", "signature"))
        if not (await self._urls()).allows(name, digest, expires, signature):
            raise PullRefused(HTTPStatus.FORBIDDEN, "DENIED", "this address is not valid, or not any more")
        if request.method == "HEAD":
            endpoint = self._asked(request).endpoint
            return _size_response(digest, await self._registry().blob_size(endpoint, digest, None))
        return await self._counted("blob", self._send_blob)(request)

    async def _tags(self, request: web.Request) -> web.StreamResponse:
        target = self._asked(request)
        query = [(key, value) for key, value in parse_qsl(request.rel_url.raw_query_string) if key in ("n", "last")]
        url = f"{target.endpoint.base}{target.endpoint.repository}/tags/list"
        url = f"{url}?{urlencode(query)}" if query else url
        given = await self._registry().ask(target.endpoint, "GET", url, self._login(request), {})
        headers = {**API_VERSION, "Content-Type": "application/json", **_next_page(target, given.headers)}
        return web.Response(body=_renamed(given.body, target), headers=headers)

    async def _send_blob(self, request: web.Request, pull: RunningPull) -> web.StreamResponse:
        target, digest = self._asked(request), self._digest(request)
        wanted = WantedRange.parse(request.headers.get("Range", ""))
        login = self._login(request)
        try:
            async with self._opened(target, digest, login, wanted) as (reading, source):
                return await self._stream(request, reading, pull, digest, source, is_partial=wanted is not None)
        except RangeNotSatisfiable as exc:
            text, headers = "the blob has no such bytes", {"Content-Range": f"bytes */{exc.total}"}
            raise PullRefused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "SIZE_INVALID", text, headers) from exc

    @asynccontextmanager
    async def _opened(
        self, target: PullTarget, digest: str, login: Login | None, wanted: WantedRange | None
    ) -> AsyncIterator[tuple[Reading, str]]:
        """Open a blob that the client may have, and say where it comes from."""
        blob, endpoint = self._registry().blob, target.endpoint
        async with AsyncExitStack() as stack:
            if self._cache is not None:
                whole = partial(blob, endpoint, digest, login, None)
                found: Reading | None = None
                with suppress(CacheUnusable):
                    found = await stack.enter_async_context(self._cache.blob(digest, wanted, whole))
                if found is not None:
                    yield found, "cache"
                    return
            yield await stack.enter_async_context(blob(endpoint, digest, login, wanted)), "registry"

    async def _stream(
        self,
        request: web.Request,
        reading: Reading,
        pull: RunningPull,
        digest: str,
        source: str,
        *,
        is_partial: bool,
    ) -> web.StreamResponse:
        span = reading.span
        partial = {"Content-Range": span.content_range} if is_partial else {}
        headers = {**API_VERSION, **_blob_headers(digest), "Content-Length": str(span.size), **partial}
        status = HTTPStatus.PARTIAL_CONTENT if is_partial else HTTPStatus.OK
        stream = TimedStream(request, headers, self.settings.stall_timeout, status=status)
        try:
            async with stream, aclosing(reading.chunks()) as chunks:
                await stream.write(b"")
                async for chunk in chunks:
                    await stream.write(chunk)
                    pull.sent(len(chunk), source)
                pull.finish(PushOutcome.SUCCEEDED)
        except (OllamaPushError, UpstreamRefused, CacheUnusable):
            # The head is gone: only the end of the connection says that this is not all.
            pull.finish(PushOutcome.FAILED)
            _abort(request)
        return stream.response

    # --- around it

    def _refusing(
        self, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handled(request: web.Request) -> web.StreamResponse:
            try:
                return await self._while_client_waits(request, handle(request))
            except PullRefused as refused:
                return refused.response()
            except (OllamaPushError, UpstreamRefused) as exc:
                return refusal_of(exc).response()

        return handled

    def _counted(self, what: str, work: _Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Count *work*."""

        async def handle(request: web.Request) -> web.StreamResponse:
            pull = self.history.begin(what)
            if pull is None:
                text = f"{self.history.limit} pulls are running, which is as many as may"
                raise PullRefused(HTTPStatus.SERVICE_UNAVAILABLE, "TOOMANYREQUESTS", text, {"Retry-After": "5"})
            with pull:
                try:
                    return await work(request, pull)
                except (OllamaPushError, UpstreamRefused, PullRefused):
                    pull.finish(PushOutcome.FAILED)
                    raise

        return handle

    async def _while_client_waits(
        self, request: web.Request, work: Awaitable[web.StreamResponse]
    ) -> web.StreamResponse:
        sending = asyncio.ensure_future(work)
        self._sending.add(sending)
        try:
            while not sending.done():
                await asyncio.wait([sending], timeout=_CHECK_SECONDS)
                if is_gone(request):
                    sending.cancel()
            if sending.cancelled():
                _abort(request)
                return web.Response()  # for the log alone
            return sending.result()
        finally:
            sending.cancel()
            self._sending.discard(sending)

    async def _urls(self) -> DirectUrls:
        """Return what makes and knows the addresses of blobs; before the first of them, no key is made."""
        async with self._key_lock:
            if self._direct_urls is None:
                if self._find_key is None:
                    raise PullRefused(HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "the gateway is starting")
                self._direct_urls = DirectUrls(self.settings, await self._find_key(), time.time)
            return self._direct_urls

    def _registry(self) -> Upstream:
        if self._upstream is None:
            raise PullRefused(HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "the gateway is shutting down")
        return self._upstream

    def _asked(self, request: web.Request) -> PullTarget:
        return self._target(request.match_info["name"])

    def _target(self, name: str) -> PullTarget:
        target = target_for(name, self.settings)
        if target is None:
            raise PullRefused(HTTPStatus.NOT_FOUND, "NAME_INVALID", "this is no name of a repository")
        if not self.settings.allows(target.endpoint):
            # Nobody else's choice of a registry gets here: the transport checks what the names of these resolve to.
            text = f"this gateway does not pull from {target.endpoint.host}"
            raise PullRefused(HTTPStatus.FORBIDDEN, "DENIED", text)
        return target

    def _digest(self, request: web.Request) -> str:
        digest = request.match_info["digest"]
        if not is_sha256_digest(digest):
            raise PullRefused(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", "this is no sha256 digest")
        return digest

    def _login(self, request: web.Request) -> Login | None:
        """Return the client's login; ``None`` where it sends none, or the token of the gateway."""
        header = request.headers.get("Authorization", "")
        if self.settings.token is not None or header.partition(" ")[0].lower() != "basic":
            return None
        try:
            given = BasicAuth.decode(header, "utf-8")
        except ValueError as exc:
            raise PullRefused(HTTPStatus.BAD_REQUEST, "UNAUTHORIZED", "this login cannot be read") from exc
        return Login(given.login, given.password)


def _accepted(request: web.Request) -> str:
    given = ", ".join(request.headers.getall("Accept", []))
    is_usable = 0 < len(given) <= _MAX_ACCEPT_CHARACTERS and given.isascii() and given.isprintable()
    return given if is_usable and given != "*/*" else _ACCEPT


def _media_type(body: bytes) -> str:
    try:
        found = json.loads(body).get("mediaType")
    except (ValueError, AttributeError, RecursionError):
        found = None
    return found if isinstance(found, str) and found.isascii() and found.isprintable() else MANIFEST_MEDIA_TYPES[0]


def _size_response(digest: str, size: int) -> web.Response:
    return web.Response(headers={**API_VERSION, **_blob_headers(digest), "Content-Length": str(size)})


def _blob_headers(digest: str) -> dict[str, str]:
    return {
        "Content-Type": _BLOB,
        "Docker-Content-Digest": digest,
        "Accept-Ranges": "bytes",
        "ETag": f'"{digest}"',
    }


def _next_page(target: PullTarget, headers: Mapping[str, str]) -> dict[str, str]:
    """Return where the next tags are: a registry names its own address (RFC 5988), of which the query counts."""
    url, closed, _ = headers.get("link", "").partition("<")[2].partition(">")
    query = urlencode([(key, value) for key, value in parse_qsl(urlsplit(url).query) if key in ("n", "last")])
    if not closed or not query:
        return {}
    return {"Link": f'</v2/{quote(target.name)}/tags/list?{query}>; rel="next"'}


def _renamed(body: bytes, target: PullTarget) -> bytes:
    """Return a list of tags under the name that the client asked for."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise PullRefused(HTTPStatus.BAD_GATEWAY, "UNKNOWN", "the registry sends no list of tags")
    return json.dumps({**value, "name": target.name}).encode()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        abort_unread(request.transport)
