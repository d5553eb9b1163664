"""One client that several pushes share, sync or async, and gates that hold its requests where a test wants."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager

import attrs
import pytest
from tests.support.direct_push import PATIENCE, Direct, settings

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest, Response, Transport
from ollama_push.core.receipts import PushReceipt
from ollama_push.transports import AiohttpTransport, Urllib3Transport

__all__ = ["Gate", "Shared", "Sharing", "either_client", "shared_async", "shared_sync"]


class Gate:
    """Holds one request, once the head of its answer is there.

    Args:
        method: Of the request.
        url: Regular expression searched in its URL.
        nth: Which of those that fit, from 1.

    Attributes:
        reached: Set when it is held.
        opened: Set it to let it go on.
    """

    def __init__(self, method: str, url: str = "", nth: int = 1) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self._method = method
        self._url = re.compile(url)
        self._left = nth
        self._guard = threading.Lock()

    def hold(self, request: HttpRequest) -> None:
        """Return at once, or for the one request only once the gate is open."""
        with self._guard:
            if request.method != self._method or not self._url.search(request.url):
                return
            self._left -= 1
            if self._left:
                return
        self.reached.set()
        assert self.opened.wait(PATIENCE)


@attrs.frozen
class _Gated:
    """A transport that cannot be hung up."""

    inner: Transport
    gates: tuple[Gate, ...]

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[Response]:
        with self.inner.open(request) as response:
            for gate in self.gates:
                gate.hold(request)
            yield response

    def close(self) -> None:
        self.inner.close()


@attrs.frozen
class _AsyncGated:
    inner: AsyncTransport
    gates: tuple[Gate, ...]

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[AsyncResponse]:
        async with self.inner.open(request) as response:
            for gate in self.gates:
                await asyncio.to_thread(gate.hold, request)
            yield response

    async def aclose(self) -> None:
        await self.inner.aclose()


@attrs.frozen
class Shared:
    """A client, to be used by several at once.

    Attributes:
        push: Begins a push.
        left: Begins a push whose block is left when the event is set, whatever it does then.
        interrupt: Interrupts all.
    """

    push: Callable[[], Future[PushReceipt]]
    left: Callable[[threading.Event], Future[None]]
    interrupt: Callable[[], None]


@contextmanager
def shared_sync(asked: Direct, *gates: Gate) -> Iterator[Shared]:
    with ExitStack() as stack:
        inner = stack.enter_context(Urllib3Transport())
        client = RegistryClient(transport=_Gated(inner, gates) if gates else inner, **settings(asked))

        def left(when: threading.Event) -> None:
            with client.stream(asked.name, source=asked.source) as events:
                next(events)
                assert when.wait(PATIENCE)

        pool = stack.enter_context(ThreadPoolExecutor(4))
        stack.callback(_let_go, client, gates)
        yield Shared(
            lambda: pool.submit(client.push, asked.name, source=asked.source),
            lambda when: pool.submit(left, when),
            client.interrupt,
        )


@contextmanager
def shared_async(asked: Direct, *gates: Gate) -> Iterator[Shared]:
    """The client lives on a loop of its own, in a thread of its own."""
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as pool:
        loop, stopped = runner.get_loop(), asyncio.Event()
        living = pool.submit(runner.run, stopped.wait())
        inner = AiohttpTransport()

        async def make() -> AsyncRegistryClient:
            return AsyncRegistryClient(transport=_AsyncGated(inner, gates) if gates else inner, **settings(asked))

        client = asyncio.run_coroutine_threadsafe(make(), loop).result(PATIENCE)

        async def left(when: threading.Event) -> None:
            async with client.stream(asked.name, source=asked.source) as events:
                await anext(events)
                assert await asyncio.to_thread(when.wait, PATIENCE)

        try:
            yield Shared(
                lambda: asyncio.run_coroutine_threadsafe(client.push(asked.name, source=asked.source), loop),
                lambda when: asyncio.run_coroutine_threadsafe(left(when), loop),
                client.interrupt,
            )
        finally:
            _let_go(client, gates)
            asyncio.run_coroutine_threadsafe(inner.aclose(), loop).result(PATIENCE)
            loop.call_soon_threadsafe(stopped.set)
            living.result(PATIENCE)


def _let_go(client: RegistryClient | AsyncRegistryClient, gates: tuple[Gate, ...]) -> None:
    """Let a test that fails end, too."""
    client.interrupt()
    for gate in gates:
        gate.opened.set()


Sharing = Callable[..., AbstractContextManager[Shared]]

either_client = pytest.mark.parametrize("sharing", [shared_sync, shared_async], ids=["sync", "async"])
