"""An async transport as a sync one, so that one test or one contract clause serves both kinds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, closing, contextmanager

import attrs

from ollama_push.core.errors import ConnectionLost
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.testing._loop_thread import LoopThread

__all__ = ["Blocking"]


class Blocking:
    """Runs an async transport on an event loop of its own, in a thread of its own. Safe to share between threads.

    Each block runs in one task, so the transport leaves what it enters in the task that entered it. Exceptions
    pass in both directions as the same objects.

    Args:
        make: Builds the transport; called on the loop.
    """

    def __init__(self, make: Callable[[], AsyncTransport]) -> None:
        self._lock = threading.Lock()  # once the loop is told to stop, nothing may be scheduled on it
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = LoopThread(lambda: _closed_at_the_end(make), "blocking-transport")
        self._transport = self._thread.value

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[_Response]:
        """Send *request* and hold its response; see :mod:`ollama_push.core.ports`."""
        if self._closed:
            # The transport must refuse the request itself, as without us. Our loop is gone, so it gets another.
            with closing(Blocking(lambda: self._transport)) as again, again.open(request) as refused:
                yield refused
            return
        block = _Block(self._transport, request)
        self._ask(block, _Ask())
        try:
            response = block.response
            yield _Response(response.status, response.headers, lambda: self._ask(block, _Ask()))
        except BaseException as exc:
            self._ask(block, _Ask(leaving=True, error=exc))
            if not block.swallowed:
                raise
        else:
            self._ask(block, _Ask(leaving=True))

    def close(self) -> None:
        """Close the transport, its event loop and the thread. Idempotent if the transport is."""
        with self._lock:
            if not self._closed:
                self._closed = True
                # Afterwards asyncio.run() cancels the blocks that are still open.
                self._thread.close()
                return
        Blocking(lambda: self._transport).close()

    def _ask(self, block: _Block, ask: _Ask) -> bytes | None:
        with self._lock:
            if self._closed:
                block.refuse(ask)
            else:
                self._thread.loop.call_soon_threadsafe(self._deliver, block, ask)
        return ask.reply.result()

    def _deliver(self, block: _Block, ask: _Ask) -> None:
        block.asks.put_nowait(ask)
        if block.task is None:
            # Kept in a set because the loop holds only weak references to tasks.
            block.task = self._thread.loop.create_task(block.run())
            self._tasks.add(block.task)
            block.task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def _closed_at_the_end(make: Callable[[], AsyncTransport]) -> AsyncIterator[AsyncTransport]:
    transport = make()
    yield transport
    await transport.aclose()


@attrs.define(eq=False)
class _Ask:
    """What a thread asks of a block: first to be opened, then another chunk, and at last to be left.

    The reply is the chunk; ``None`` at the end of the body and for everything else.
    """

    leaving: bool = False
    error: BaseException | None = None
    reply: Future[bytes | None] = attrs.field(factory=Future)


class _Block:
    """One request, from entering its block to leaving it.

    Attributes:
        response: The transport's response, once the first ask has its reply.
        swallowed: Whether the transport suppressed the caller's exception.
    """

    response: AsyncResponse

    def __init__(self, transport: AsyncTransport, request: HttpRequest) -> None:
        self._transport = transport
        self._request = request
        self.asks: asyncio.Queue[_Ask] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
        self.swallowed = False

    async def run(self) -> None:
        ask = await self.asks.get()
        try:
            async with self._transport.open(self._request) as self.response:
                ask.reply.set_result(None)
                ask = await self._reply_with_chunks()
                if ask.error is not None:
                    raise ask.error
        except asyncio.CancelledError:
            if ask.reply.done():
                raise
            self.refuse(ask)
        except BaseException as exc:  # noqa: BLE001 - raised in the thread that asked
            if exc is ask.error:
                ask.reply.set_result(None)
            else:
                ask.reply.set_exception(exc)
        else:
            self.swallowed = ask.error is not None
            ask.reply.set_result(None)
        finally:
            while not self.asks.empty():
                self.refuse(self.asks.get_nowait())

    async def _reply_with_chunks(self) -> _Ask:
        """Reply to the asks for chunks; return the one to leave the block."""
        chunks: AsyncIterator[bytes] | None = None
        while not (ask := await self.asks.get()).leaving:
            try:
                chunks = chunks or self.response.chunks()
                ask.reply.set_result(await anext(chunks, None))
            except asyncio.CancelledError:
                self.refuse(ask)
                raise
            except BaseException as exc:  # noqa: BLE001 - raised in the thread that asked
                ask.reply.set_exception(exc)
        return ask

    def refuse(self, ask: _Ask) -> None:
        """Reply that the transport was closed; an ask to leave the block succeeds, as it is left already."""
        if ask.leaving:
            ask.reply.set_result(None)
        else:
            ask.reply.set_exception(ConnectionLost(origin_of(self._request.url), "the transport was closed"))


@attrs.frozen
class _Response:
    """A response that arrives on another thread's loop."""

    status: int
    headers: Mapping[str, str]
    _next_chunk: Callable[[], bytes | None]

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes as they arrive."""
        return iter(self._next_chunk, None)
