"""Carries out the effects of flows, with tasks. Its twin is ``_flow_runner_sync.py``; keep the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from typing import Any, Generic, TypeVar

import attrs

from ollama_push.client._flow_context import FlowContext, RecentKeys
from ollama_push.core.errors import OllamaPushError, PushInterrupted, TransportError
from ollama_push.core.ports import AsyncTransport
from ollama_push.core.registry.effects import (
    Claim,
    Effect,
    Emit,
    FindCredential,
    Flow,
    Gather,
    News,
    Rehash,
    Release,
    Retrying,
    Send,
    Sleep,
)
from ollama_push.core.registry.resume import UploadKey
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.responses import BufferedResponse, ResponseBuffer

__all__ = ["AsyncFlowRunner", "AsyncUploadLocks"]

T = TypeVar("T")
R = TypeVar("R")


class AsyncUploadLocks:
    """Lets one push at a time upload a blob to a repository; the others wait, and find it there."""

    def __init__(self) -> None:
        self._taken: dict[UploadKey, asyncio.Event] = {}
        self._had = RecentKeys()

    async def take(self, key: UploadKey, giving_up: asyncio.Event) -> bool:
        """Wait for one's turn; return whether another had it, now or before: then the blob may be there.

        Raises:
            PushInterrupted: *giving_up* was set meanwhile.
        """
        others = key in self._taken or key in self._had
        while key in self._taken:
            waiting = [asyncio.ensure_future(event.wait()) for event in (self._taken[key], giving_up)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()
            if giving_up.is_set():
                raise PushInterrupted
        self._taken[key] = asyncio.Event()
        return others

    def give(self, *keys: UploadKey) -> None:
        """Let the next have its turn."""
        self._had.add(*keys)
        for key in keys:
            if key in self._taken:
                self._taken.pop(key).set()


class AsyncFlowRunner(Generic[R]):
    """Drives one job; see ``_flow_runner_sync.FlowRunner``.

    Args:
        job: What to do.
        transport: Moves the bytes.
        turns: Shared by all jobs of a client.
        run: Counts what is sent; needed by jobs that send blobs.

    Attributes:
        result: What the job's flow returned, once ``news`` is over.
    """

    result: R

    def __init__(
        self, job: FlowContext[R], transport: AsyncTransport, turns: AsyncUploadLocks, run: RegistryRun | None = None
    ) -> None:
        self._job = job
        self._transport = transport
        self._turns = turns
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        # Whoever does the work reports here; the last message is how it ended: None, or the exception.
        self._inbox: asyncio.Queue[News | BaseException | None] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    def interrupt(self) -> None:
        """End the job where nothing is lost. May be called from another thread or a signal handler."""
        self._job.stopping = True
        with suppress(RuntimeError):  # the loop has ended, and the job with it
            self._loop.call_soon_threadsafe(self._woken.set)

    async def news(self) -> AsyncIterator[News]:
        """Do the job in tasks of its own; yield what is news, in the caller's."""
        self._worker = asyncio.create_task(self._work(), name="ollama-push")
        while isinstance(new := await self._inbox.get(), Emit | Retrying):
            yield new
        if new is not None:
            raise new

    async def leave(self) -> None:
        """Break off what is still under way, and give back what is claimed."""
        self._job.halted = self._job.stopping = True
        try:
            if self._worker is not None:
                self._worker.cancel()
                await asyncio.wait([self._worker])
        finally:
            self._turns.give(*self._job.leave())

    async def _work(self) -> None:
        try:
            self.result = await self._follow(self._job.flow)
        except BaseException as exc:
            self._inbox.put_nowait(exc)
            if not isinstance(exc, Exception):
                raise
        else:
            self._inbox.put_nowait(None)

    async def _follow(self, flow: Flow[T]) -> T:
        with closing(flow):
            try:
                effect = next(flow)
                while True:
                    try:
                        response = await self._perform(effect)
                    except OllamaPushError as exc:
                        effect = flow.throw(exc)
                    else:
                        effect = flow.send(response)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's value is untyped

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Emit() | Retrying():
                self._inbox.put_nowait(effect)
            case Send():
                return await self._send(effect)
            case Sleep(seconds):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), seconds)
            case Gather():
                return await self._together(effect)
            case Claim(key):
                others = await self._turns.take(key, self._woken)
                return others, self._job.perform(effect)
            case Release(key):
                if self._job.perform(effect):
                    self._turns.give(key)
            case FindCredential() | Rehash():
                # They run a program or read a whole blob: not on the loop.
                return await asyncio.to_thread(self._job.perform, effect)
            case _:
                return self._job.perform(effect)
        return None

    async def _send(self, effect: Send) -> BufferedResponse | TransportError:
        request, buffer, body = effect.request, ResponseBuffer(), None
        if effect.span is not None:
            body = self._job.body(effect.span, self._run, self._inbox.put_nowait)
            request = attrs.evolve(request, body=body)
        try:
            async with self._transport.open(request) as response:
                async for chunk in response.chunks():
                    if not buffer.receive_data(chunk):
                        break
                return buffer.response(response.status, response.headers)
        except Exception as exc:  # noqa: BLE001 - the job tells a verdict from a transport's mistake
            return self._job.without_answer(exc, body, self._transport)

    async def _together(self, effect: Gather) -> list[Any]:
        results: list[Any] = [None] * len(effect.flows)
        waiting = deque(enumerate(effect.flows))
        failures: list[BaseException] = []

        async def work() -> None:
            try:
                while (item := self._next(waiting)) is not None:
                    index, flow = item
                    results[index] = await self._follow(flow)
            except Exception as exc:  # noqa: BLE001 - it belongs to the flow that waits
                failures.append(exc)
                self.interrupt()

        tasks = [
            asyncio.create_task(work(), name="ollama-push-blob") for _ in range(min(effect.limit, len(effect.flows)))
        ]
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            # gather() has cancelled them; they are waited for, so that nothing is left behind.
            await asyncio.wait(tasks)
            raise
        finally:
            for _index, flow in waiting:
                flow.close()
                failures.append(PushInterrupted())
        # Those that were only told to stop say less than the one that was the reason.
        for failure in sorted(failures, key=lambda exc: isinstance(exc, PushInterrupted)):
            raise failure
        return results

    def _next(self, waiting: deque[tuple[int, Flow[T]]]) -> tuple[int, Flow[T]] | None:
        return waiting.popleft() if waiting and not self._job.stopping else None
