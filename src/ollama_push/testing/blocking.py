"""An async transport as a sync one, so that a test or a contract clause is written once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager

import attrs

from ollama_push.core.errors import ConnectionLost
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.core.redaction import origin_of

__all__ = ["Blocking"]


class Blocking:
    """Runs an async transport on an event loop of its own, in a thread of its own. Safe to share between threads.

    Each block runs in one task, so what the transport opens on entering is left in the task that
    opened it. Exceptions pass in both directions as the objects they are.

    Args:
        make: Builds the transport; called on the loop.
    """

    def __init__(self, make: Callable[[], AsyncTransport]) -> None:
        self._made: Future[AsyncTransport] = Future()
        self._ended: Future[None] = Future()
        self._lock = threading.Lock()  # nothing may be handed to the loop once it was told to stop
        self._stopped = False
        self._thread = threading.Thread(target=self._run, args=(make,), name="blocking-transport", daemon=True)
        self._thread.start()
        self._transport = self._made.result()

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[_Response]:
        """Send *request* and hold its answer; see :mod:`ollama_push.core.ports`."""
        if self._stopped:
            # The transport itself must refuse, as it does for its async users; our loop is gone, so it gets another.
            with closing(Blocking(lambda: self._transport)) as again, again.open(request) as response:
                yield response
            return
        block = _Block(self._transport, request)
        self._ask(block, _Ask())
        try:
            yield _Response(block.response, lambda: self._ask(block, _Ask()))
        except BaseException as exc:
            self._ask(block, _Ask(leaving=True, error=exc))
            if not block.swallowed:
                raise
        else:
            self._ask(block, _Ask(leaving=True))

    def close(self) -> None:
        """Close the transport, its event loop and the thread. Idempotent if the transport is."""
        with self._lock:
            first, self._stopped = not self._stopped, True
            if first:
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if first:
            self._ended.result()
        else:
            Blocking(lambda: self._transport).close()

    def _run(self, make: Callable[[], AsyncTransport]) -> None:
        try:
            asyncio.run(self._live(make))
        except BaseException as exc:  # noqa: BLE001 - close() raises it in the thread that called
            self._ended.set_exception(exc)
        else:
            self._ended.set_result(None)

    async def _live(self, make: Callable[[], AsyncTransport]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            transport = make()
        except BaseException as exc:  # noqa: BLE001 - the constructor raises it in the thread that called
            self._made.set_exception(exc)
            return
        self._made.set_result(transport)
        await self._stop.wait()
        # Blocks that are still open are cancelled by asyncio.run().
        await transport.aclose()

    def _ask(self, block: _Block, ask: _Ask) -> bytes | None:
        with self._lock:
            if self._stopped:
                block.refuse(ask)
            else:
                self._loop.call_soon_threadsafe(self._deliver, block, ask)
        return ask.reply.result()

    def _deliver(self, block: _Block, ask: _Ask) -> None:
        block.asks.put_nowait(ask)
        if block.task is None:
            # The loop itself holds tasks only weakly.
            block.task = self._loop.create_task(block.live())
            self._tasks.add(block.task)
            block.task.add_done_callback(self._tasks.discard)


@attrs.define(eq=False)
class _Ask:
    """What a thread wants of a block: to be opened, then another chunk, and at last to be left.

    The reply is the chunk; ``None`` at the body's end and for everything else.
    """

    leaving: bool = False
    error: BaseException | None = None
    reply: Future[bytes | None] = attrs.field(factory=Future)


class _Block:
    """One request, from entering its block to leaving it.

    Attributes:
        response: What the transport answered, once the first ask has its reply.
        swallowed: Whether the transport kept the caller's exception for itself.
    """

    response: AsyncResponse

    def __init__(self, transport: AsyncTransport, request: HttpRequest) -> None:
        self._transport = transport
        self._request = request
        self.asks: asyncio.Queue[_Ask] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
        self.swallowed = False

    async def live(self) -> None:
        ask = await self.asks.get()
        try:
            async with self._transport.open(self._request) as self.response:
                ask.reply.set_result(None)
                ask = await self._hand_over()
                if ask.error is not None:
                    raise ask.error
        except asyncio.CancelledError:
            if ask.reply.done():
                raise
            self.refuse(ask)
        except BaseException as exc:  # noqa: BLE001 - it belongs to the thread that asked
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

    async def _hand_over(self) -> _Ask:
        """Reply to the asks for chunks until one asks to leave."""
        chunks: AsyncIterator[bytes] | None = None
        while not (ask := await self.asks.get()).leaving:
            try:
                chunks = chunks or self.response.chunks()
                ask.reply.set_result(await anext(chunks, None))
            except asyncio.CancelledError:
                self.refuse(ask)
                raise
            except BaseException as exc:  # noqa: BLE001 - it belongs to the thread that asked
                ask.reply.set_exception(exc)
        return ask

    def refuse(self, ask: _Ask) -> None:
        """Reply that the transport was closed; who leaves has nothing left to do."""
        if ask.leaving:
            ask.reply.set_result(None)
        else:
            ask.reply.set_exception(ConnectionLost(origin_of(self._request.url), "the transport was closed"))


class _Response:
    """An answer while it arrives on another thread's loop."""

    def __init__(self, answer: AsyncResponse, next_chunk: Callable[[], bytes | None]) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._next_chunk = next_chunk

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes as they arrive."""
        return iter(self._next_chunk, None)
