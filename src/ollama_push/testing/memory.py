"""Sync and async transports that play scripts without sockets, for unit tests of clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import attrs

from ollama_push.core.errors import ConnectionLost, MachineMisuse, UsedAfterClose
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import AsyncSizedBody, HttpRequest

__all__ = ["AsyncScriptedTransport", "ScriptedAnswer", "ScriptedTransport"]


def _lower(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _tuple(chunks: Iterable[bytes | Exception]) -> tuple[bytes | Exception, ...]:
    return tuple(chunks)


@attrs.frozen
class ScriptedAnswer:
    """One response.

    Attributes:
        chunks: The body as it arrives; an exception among them is raised at its place.
        status: The HTTP status.
        headers: Names are handed over in lower case, as a transport must (clause T2).
    """

    chunks: tuple[bytes | Exception, ...] = attrs.field(default=(), converter=_tuple)
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=lambda: {"content-type": "application/x-ndjson"}, converter=_lower)


class _Script:
    """What both transports share: the responses, and the record of the requests."""

    def __init__(self, *answers: ScriptedAnswer | Exception) -> None:
        self._answers = answers or (ScriptedAnswer(),)
        self._lock = threading.Lock()
        self.requests: list[HttpRequest] = []
        self.hangups: int = 0
        self.closed: bool = False

    @contextmanager
    def _play(self, request: HttpRequest) -> Iterator[_SyncResponse]:
        if self.closed:
            raise UsedAfterClose(type(self).__name__)
        # Read now, as a real transport does: a buffer is valid only until the next one is requested.
        if isinstance(request.body, AsyncSizedBody):
            raise MachineMisuse("a body that has to be awaited needs a real transport")
        body = request.body if isinstance(request.body, bytes) else b"".join(bytes(part) for part in request.body)
        with self._lock:
            answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
            self.requests.append(attrs.evolve(request, body=body))
        if isinstance(answer, Exception):
            raise answer
        response = _SyncResponse(answer.status, answer.headers, answer.chunks, origin_of(request.url))
        try:
            yield response
        finally:
            response.left = True
            with self._lock:
                self.hangups += not response.complete


class ScriptedTransport(_Script):
    """A transport that plays *answers*: the first request gets the first one, the last one repeats.

    Safe to share between threads. An exception among *answers* is raised by ``open``.

    Attributes:
        requests: Every request, in order; bodies as bytes.
        hangups: How many blocks were left before the end of the body was read.
        closed: Whether ``close`` was called.
    """

    def open(self, request: HttpRequest, /) -> AbstractContextManager[_SyncResponse]:
        """Play the next response; see :mod:`ollama_push.core.ports`."""
        return self._play(request)

    def close(self) -> None:
        """Refuse every further request. Idempotent."""
        self.closed = True


class AsyncScriptedTransport(_Script):
    """The async twin of :class:`ScriptedTransport`, with the same attributes."""

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[_AsyncResponse]:
        """Play the next response; see :mod:`ollama_push.core.ports`."""
        # A real transport waits here, so other tasks must be able to run, and this one to be cancelled.
        await asyncio.sleep(0)
        with self._play(request) as response:
            yield _AsyncResponse(response.status, response.headers, response.chunks())

    async def aclose(self) -> None:
        """Refuse every further request. Idempotent."""
        self.closed = True


@attrs.define(eq=False)
class _SyncResponse:
    status: int
    headers: Mapping[str, str]
    _chunks: Iterable[bytes | Exception]
    _origin: str
    complete: bool = False
    left: bool = False

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if self.left:
                raise ConnectionLost(self._origin, "the block was left")
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk
        self.complete = True


@attrs.define(eq=False)
class _AsyncResponse:
    status: int
    headers: Mapping[str, str]
    _chunks: Iterator[bytes]

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            await asyncio.sleep(0)
            yield chunk
