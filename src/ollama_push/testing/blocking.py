"""An async transport as a sync one, so that one test or one contract clause serves both kinds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import aclosing, closing, contextmanager, suppress
from typing import Any, TypeVar

import attrs

from ollama_push.core.errors import ConnectionLost
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.testing._loop_thread import LoopThread

__all__ = ["Blocking"]

T = TypeVar("T")


class Blocking:
    """Runs an async transport on an event loop of its own, in a thread of its own. Safe to share between threads.

    Each block runs in one task, so the transport leaves what it enters in the task that entered it. Exceptions
    pass in both directions as the same objects.

    Args:
        make: Builds the transport; called on the loop.
    """

    def __init__(self, make: Callable[[], AsyncTransport]) -> None:
        self._lock = threading.Lock()  # once the loop is told to stop, no block may begin on it
        self._closed = False
        self._thread = LoopThread(lambda: aclosing(make()), "blocking-transport")
        self._transport = self._thread.value

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[_Response]:
        """Send *request* and hold its response; see :mod:`ollama_push.core.ports`."""
        with self._lock:
            block = None if self._closed else _Block(self._thread.loop, self._transport, request)
        if block is None:
            # The transport must refuse the request itself, as without us. Our loop is gone, so it gets another.
            with closing(Blocking(lambda: self._transport)) as again, again.open(request) as refused:
                yield refused
            return
        response = block.response()
        error: BaseException | None = None
        try:
            yield _Response(response.status, response.headers, block.next_chunk)
        except BaseException as exc:  # noqa: BLE001 - the transport decides what becomes of it
            error = exc
        error = block.leave(error)
        if error is not None:
            raise error

    def close(self) -> None:
        """Close the transport, its event loop and the thread. Idempotent if the transport is."""
        with self._lock:
            if not self._closed:
                self._closed = True
                # Afterwards asyncio.run() cancels the blocks that are still open.
                self._thread.close()
                return
        Blocking(lambda: self._transport).close()


class _Block:
    """One request, in a task of its own from entering its block to leaving it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: AsyncTransport, request: HttpRequest) -> None:
        self._loop, self._transport, self._request = loop, transport, request
        self._opened: Future[AsyncResponse] = Future()
        # Futures that want a chunk, and at last the caller's error or None, which leave the block.
        self._asks: asyncio.Queue[Future[bytes | None] | BaseException | None] = asyncio.Queue()
        self._ended = asyncio.run_coroutine_threadsafe(self._run(), loop)

    def response(self) -> AsyncResponse:
        return self._result_of(self._opened)

    def next_chunk(self) -> bytes | None:
        """Return the next chunk; ``None`` at the end of the body."""
        reply: Future[bytes | None] = Future()
        self._ask(reply)
        return self._result_of(reply)

    def leave(self, error: BaseException | None) -> BaseException | None:
        """Leave the block with the caller's *error*; return the error to raise."""
        self._ask(error)
        return self._outcome(error)

    def _ask(self, ask: Future[bytes | None] | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed, so the task has ended
            self._loop.call_soon_threadsafe(self._asks.put_nowait, ask)

    def _result_of(self, reply: Future[T]) -> T:
        either: list[Future[Any]] = [reply, self._ended]
        wait(either, return_when=FIRST_COMPLETED)
        if reply.done():
            return reply.result()
        raise self._outcome(None) or ConnectionLost(origin_of(self._request.url), "the transport was closed")

    def _outcome(self, error: BaseException | None) -> BaseException | None:
        try:
            return self._ended.result()
        except CancelledError:  # the transport was closed, which left the block
            return error

    async def _run(self) -> BaseException | None:
        """Carry out the asks; return the error with which the block ended."""
        ask: Future[bytes | None] | BaseException | None = None
        chunks: AsyncIterator[bytes] | None = None
        try:
            async with self._transport.open(self._request) as response:
                self._opened.set_result(response)
                while isinstance(ask := await self._asks.get(), Future):
                    try:
                        chunks = chunks or response.chunks()
                        ask.set_result(await anext(chunks, None))
                    except asyncio.CancelledError:
                        raise
                    except BaseException as exc:  # noqa: BLE001 - raised in the thread that asked
                        ask.set_exception(exc)
                if ask is not None:
                    raise ask
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and exc is not ask:
                raise
            return exc
        return None


@attrs.frozen
class _Response:
    """A response that arrives on another thread's loop."""

    status: int
    headers: Mapping[str, str]
    _next_chunk: Callable[[], bytes | None]

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes as they arrive."""
        return iter(self._next_chunk, None)
