"""Real libraries used the obvious way: each breaks a promise that tests against Ollama alone would not miss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import urllib3

from ollama_push.core.errors import TransportTimeout
from ollama_push.core.ports import HttpRequest

__all__ = ["ReleasingUrllib3", "StreamingUrllib3", "WillingAiohttp"]


class _Answer:
    def __init__(self, raw: urllib3.BaseHTTPResponse) -> None:
        self._raw = raw
        self.status = raw.status
        self.headers = {name.lower(): raw.headers[name] for name in raw.headers}

    def chunks(self) -> Iterator[bytes]:
        try:
            # Waits for 65,536 bytes unless the body is chunked, as Ollama's is and a proxy's need not be.
            yield from self._raw.stream(65536)
        except urllib3.exceptions.ReadTimeoutError as exc:
            raise TransportTimeout("http://peer", "read", 0.0) from exc


class StreamingUrllib3:
    def __init__(self, read_timeout: float) -> None:
        self._pool = urllib3.PoolManager(timeout=read_timeout, retries=False)

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[_Answer]:
        raw = self._pool.request(request.method, request.url, preload_content=False)
        try:
            yield _Answer(raw)
        finally:
            self.leave(raw)

    def leave(self, raw: urllib3.BaseHTTPResponse) -> None:
        raw.close()

    def close(self) -> None:
        self._pool.clear()


class ReleasingUrllib3(StreamingUrllib3):
    """Gives the connection back with the rest of the answer still on it."""

    def leave(self, raw: urllib3.BaseHTTPResponse) -> None:
        raw.release_conn()


class WillingAiohttp:
    """Follows redirects, because nobody told it not to."""

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[_AsyncAnswer]:
        async with aiohttp.ClientSession() as session, session.request(request.method, request.url) as raw:
            yield _AsyncAnswer(raw)

    async def aclose(self) -> None:
        await asyncio.sleep(0)


class _AsyncAnswer:
    def __init__(self, raw: aiohttp.ClientResponse) -> None:
        self._raw = raw
        self.status = raw.status
        self.headers = {name.lower(): value for name, value in raw.headers.items()}

    def chunks(self) -> AsyncIterator[bytes]:
        return self._raw.content.iter_any()
