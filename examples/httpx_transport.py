"""Transports on httpx, sync and async; ``python -m ollama_push.testing.contract`` shows that they keep the contract.

httpx's transports sit below its client: they add no redirects, cookies, decoding, default headers or proxies.

The sync one breaks a part of T10: httpx limits each read of a socket alone, and a thread cannot be called back from it.
So a peer whose head drips holds it for ever. The async one has the timeouts of asyncio.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager

import httpx

from ollama_push.core.errors import ConnectionLost, MachineMisuse, TransportTimeout, UsedAfterClose
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import AsyncSizedBody, HttpRequest, RequestBody
from ollama_push.transports import connect_failed


class HttpxTransport:
    """The sync transport."""

    def __init__(self, read_timeout: float = 900.0) -> None:
        self._read_timeout = read_timeout
        self._pool = httpx.HTTPTransport(limits=httpx.Limits(max_connections=None))
        self._closed = False

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[_Response]:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        sent = _new_request(request, self._read_timeout)
        with _translated(sent):
            raw = self._pool.handle_request(sent)
        with closing(raw):  # hangs up, unless the body was read to its end
            yield _Response(raw, sent)

    def close(self) -> None:
        self._closed = True
        self._pool.close()


class AsyncHttpxTransport:
    """The async transport: the same, awaited."""

    def __init__(self, read_timeout: float = 900.0) -> None:
        self._read_timeout = read_timeout
        self._pool = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))
        self._closed = False

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[_AsyncResponse]:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
        sent = _new_request(request, self._read_timeout)
        with _translated(sent):
            async with _within(asyncio.timeout(None)) as head:
                sent.stream = _Body(request.body, lambda: head.reschedule(_due(sent)))
                raw = await self._pool.handle_async_request(sent)
        async with aclosing(raw):
            yield _AsyncResponse(raw, sent)

    async def aclose(self) -> None:
        self._closed = True
        await self._pool.aclose()


class _Head:
    def __init__(self, raw: httpx.Response, sent: httpx.Request) -> None:
        self._raw, self._sent = raw, sent
        self.status, self.headers = raw.status_code, dict(raw.headers)


class _Response(_Head):
    def chunks(self) -> Iterator[bytes]:
        chunks = self._raw.iter_raw()
        while True:
            with _translated(self._sent):  # not around the yield: the caller's errors stay the caller's
                data = next(chunks, None)
            if data is None:
                return
            yield data


class _AsyncResponse(_Head):
    async def chunks(self) -> AsyncIterator[bytes]:
        chunks = self._raw.aiter_raw()
        while True:
            with _translated(self._sent):
                async with _within(asyncio.timeout_at(_due(self._sent))):
                    data = await anext(chunks, None)
            if data is None:
                return
            yield data


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, body: RequestBody, sent: Callable[[], None] = lambda: None) -> None:
        self._buffers = [body] if isinstance(body, bytes) else body
        self._sent = sent

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self._buffers, AsyncSizedBody):
            raise MachineMisuse("a body that has to be awaited needs an async transport")
        yield from map(bytes, self._buffers)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._buffers, AsyncSizedBody):
            async for buffer in self._buffers:
                yield bytes(buffer)
        else:
            for buffer in self._buffers:
                yield bytes(buffer)
        self._sent()


@asynccontextmanager
async def _within(limit: asyncio.Timeout) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with limit:
            yield limit
    except TimeoutError as exc:
        if not limit.expired():  # an error of the body's own
            raise
        raise httpx.ReadTimeout("silent") from exc


def _due(sent: httpx.Request) -> float | None:
    """Return the time of the event loop until which the peer may be silent now; ``None`` for no limit."""
    silence: float | None = sent.extensions["timeout"]["read"]
    return None if silence is None else asyncio.get_running_loop().time() + silence


def _new_request(request: HttpRequest, read_timeout: float) -> httpx.Request:
    silence = read_timeout if request.read_timeout is None else request.read_timeout
    seconds = None if silence == math.inf else silence
    extensions = {"timeout": {"connect": 10.0, "read": seconds, "write": seconds}}
    length = {"Content-Length": str(len(request.body))} if len(request.body) else {}
    sent = httpx.Request(request.method, request.url, headers={**request.headers, **length}, extensions=extensions)
    sent.stream = _Body(request.body)
    return sent


@contextmanager
def _translated(sent: httpx.Request) -> Iterator[None]:
    url, timeout = str(sent.url), sent.extensions["timeout"]
    try:
        yield
    except httpx.ConnectTimeout as exc:
        raise TransportTimeout(origin_of(url), "connect", timeout["connect"]) from exc
    except httpx.ReadTimeout as exc:
        raise TransportTimeout(origin_of(url), "read", timeout["read"]) from exc
    except httpx.WriteTimeout as exc:
        raise TransportTimeout(origin_of(url), "write", timeout["write"]) from exc
    except (httpx.ConnectError, httpx.UnsupportedProtocol) as exc:
        raise connect_failed(url, exc) from exc
    except httpx.HTTPError as exc:
        raise ConnectionLost(origin_of(url), str(exc)) from exc
