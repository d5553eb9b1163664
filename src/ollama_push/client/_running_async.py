"""What an async push client has under way, and how others end it. Its twin is ``_running_sync.py``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self, TypeVar

import attrs

from ollama_push.client._flows_async import send_request_async
from ollama_push.client._foreign import raise_foreign
from ollama_push.core.errors import PushInterrupted, TransportError
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.core.responses import BufferedResponse, SendRequest, failed_request
from ollama_push.core.server.run import PushRun

__all__ = ["AsyncRunningCall"]

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class AsyncRunningCall:
    """A push, or a check, under way; arguments are those of ``_running_sync.RunningCall``."""

    _transport: AsyncTransport
    _run: PushRun | None = None
    _process: int = attrs.field(factory=os.getpid, init=False)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _interrupted: bool = attrs.field(default=False, init=False)
    _woken: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    # The task that waits for the peer now, and the one that an interruption has cancelled.
    _waiting: asyncio.Task[Any] | None = attrs.field(default=None, init=False)
    _cancelled: asyncio.Task[Any] | None = attrs.field(default=None, init=False)

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child, and the call its parent's."""
        return self._process != os.getpid()

    def interrupt(self) -> None:
        """End the call: it raises ``PushInterrupted``. From any thread, or a signal handler."""
        self._interrupted = True
        if self._run is not None:
            self._run.interrupt()
        with suppress(RuntimeError):  # the loop has ended, and the call with it
            self._loop.call_soon_threadsafe(self._wake)

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[AsyncResponse]:
        """Have the transport open *request*; ``interrupt`` ends each wait for its peer."""
        async with AsyncExitStack() as stack:
            opening = self._transport.open(request)
            response = await self._wait_for(lambda: stack.enter_async_context(opening))
            yield _InterruptibleResponse(response, self._wait_for)

    async def sleep(self, seconds: float) -> None:
        """Wait, no longer than until an interruption."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def perform(self, effect: SendRequest) -> BufferedResponse | TransportError:
        """Send a request of a check."""
        try:
            return await send_request_async(self, effect.request)
        except Exception as exc:  # noqa: BLE001 - a transport may raise what it must not
            raise_foreign(exc)
            return failed_request(exc, self._transport)

    def close(self) -> None:
        """End the call: a push without a verdict was cancelled. Idempotent."""
        if self._run is not None and not self.is_inherited:
            self._run.close()

    async def _wait_for(self, start: Callable[[], Awaitable[T]]) -> T:
        """Await what *start* returns, as part of the caller's task.

        Raises:
            PushInterrupted: An interruption came before, or meanwhile.
        """
        if self._interrupted:
            raise PushInterrupted
        self._waiting = asyncio.current_task()
        try:
            result = await start()
        except asyncio.CancelledError:
            if not self._was_interrupted():
                raise
        except BaseException:
            self._was_interrupted()
            raise
        else:
            if not self._was_interrupted():
                return result
        raise PushInterrupted

    def _was_interrupted(self) -> bool:
        """Note that the wait is over; return whether an interruption, and nobody else, has cancelled the task.

        Withdraws that cancellation, as ``asyncio.timeout`` does with its own.
        """
        self._waiting = None
        cancelled, self._cancelled = self._cancelled, None
        return cancelled is not None and cancelled.uncancel() == 0

    def _wake(self) -> None:
        self._woken.set()
        if self._waiting is not None and not self._waiting.cancelling():
            self._cancelled = self._waiting
            self._waiting.cancel()


class _InterruptibleResponse:
    """A response while it arrives, of which each wait for a chunk can be interrupted. Its own iterator."""

    def __init__(
        self, response: AsyncResponse, wait_for: Callable[[Callable[[], Awaitable[bytes]]], Awaitable[bytes]]
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._wait_for = wait_for

    def chunks(self) -> Self:
        """Return the iterator of the body."""
        self._next = aiter(self._response.chunks()).__anext__
        return self

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._wait_for(self._next)
