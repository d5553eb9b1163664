"""Carries out the effects of flows, with tasks. Its twin is ``_flow_runner_sync.py``; keep the same order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from functools import partial
from typing import Any, Generic, TypeVar

import attrs

from ollama_push.client._flow_context import FlowContext, GatheredFlows, RecentUploads
from ollama_push.client._flows_async import open_blob_async, run_flow_async, send_request_async
from ollama_push.client._guest import Turn
from ollama_push.client._lanes import Lanes
from ollama_push.client._paced_bodies import AsyncPacedBody, paced, pauses_of
from ollama_push.client._streams_async import AsyncStreamedModel, awaited_pieces, pieces_of
from ollama_push.core.errors import PushInterrupted, TransportError
from ollama_push.core.ports import AsyncSizedBody, AsyncTransport
from ollama_push.core.registry.credentials import GivenCredential, RepositoryCredentialSource
from ollama_push.core.registry.effects import (
    ClaimUpload,
    Effect,
    EmitEvent,
    Exclusive,
    FindCredential,
    FindInTarget,
    Flow,
    ForgetResumePoint,
    ForgetStored,
    Gather,
    HoldsUpload,
    KeepLessons,
    KeepStored,
    Notice,
    PutBlob,
    PutManifest,
    Rehash,
    ReleaseUpload,
    ReportPause,
    ReportRetry,
    SaveResumePoint,
    Sleep,
)
from ollama_push.core.registry.places import ModelTarget
from ollama_push.core.registry.resume import UploadKey
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.responses import BlobRequest, BlobSpan, BufferedResponse, SendRequest

__all__ = ["AsyncFlowRunner", "AsyncUploadLocks"]

R = TypeVar("R")
T = TypeVar("T")


class AsyncUploadLocks:
    """Lets one push at a time upload a blob to a repository; the others wait, and find it stored."""

    def __init__(self) -> None:
        self._held: dict[UploadKey, asyncio.Event] = {}
        self._recent = RecentUploads()

    async def acquire(self, key: UploadKey, interrupted: asyncio.Event) -> bool:
        """Wait for the lock; return whether another push holds or held it: then the blob may be stored.

        Raises:
            PushInterrupted: *interrupted* was set meanwhile.
        """
        others = key in self._held or key in self._recent
        while key in self._held:
            waiting = [asyncio.ensure_future(event.wait()) for event in (self._held[key], interrupted)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()
            if interrupted.is_set():
                raise PushInterrupted
        self._held[key] = asyncio.Event()
        return others

    def release(self, *keys: UploadKey) -> None:
        """Let others acquire the locks."""
        self._recent.add(*keys)
        for key in keys:
            if key in self._held:
                self._held.pop(key).set()


@attrs.define(eq=False, repr=False)
class AsyncFlowRunner(Generic[R]):
    """Runs one flow; arguments and attributes are those of ``_flow_runner_sync.FlowRunner``.

    Args:
        lanes: Shared by all flows of a client: the threads for all that may block.
    """

    _context: FlowContext[R]
    _transport: AsyncTransport
    _locks: AsyncUploadLocks
    _lanes: Lanes
    _run: RegistryRun | None = None
    result: R = attrs.field(init=False)
    _locked: set[UploadKey] = attrs.field(factory=set, init=False)
    _alone: dict[str, asyncio.Lock] = attrs.field(factory=dict, init=False)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _woken: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    # The last message of the tasks is how the flow ended: None, or the exception.
    _inbox: asyncio.Queue[Notice | BaseException | None] = attrs.field(factory=asyncio.Queue, init=False)
    _worker: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _feeders: list[AsyncFlowRunner[Any]] = attrs.field(factory=list, init=False)

    def interrupt(self) -> None:
        """End the flow where nothing is lost. May be called from another thread or a signal handler."""
        for feeder in self._feeders:
            feeder.interrupt()
        self._context.stop.interrupted = True
        with suppress(RuntimeError):  # the loop has ended, and the flow with it
            self._loop.call_soon_threadsafe(self._woken.set)

    async def notices(self) -> AsyncIterator[Notice]:
        """Run the flow in tasks of its own; yield its notices in the caller's."""
        self._worker = asyncio.create_task(self._work(), name="ollama-push")
        while isinstance(message := await self._inbox.get(), EmitEvent | ReportRetry | ReportPause):
            yield message
        if message is not None:
            raise message

    async def run(self, flow: Flow[T]) -> T:
        """Run another *flow* with what this one may use, in the caller's task; its notices join those of this one."""
        return await run_flow_async(flow, self._perform)

    def feed(self, other: AsyncFlowRunner[Any]) -> None:
        """Let *other*, which is sent what this one reads, tell of its notices, interrupt and cancel it."""
        self._inbox = other._inbox
        other._feeders.append(self)
        # A request whose body this one reads may have the last turn that their registry gives.
        self._context.visit = other._context.visit.beside()

    async def cancel(self) -> None:
        """End what still runs, at once, and release what is claimed. Idempotent."""
        for feeder in self._feeders:
            await feeder.cancel()
        self._context.stop.cancelled = self._context.stop.interrupted = True
        try:
            if self._worker is not None:
                self._worker.cancel()
                await asyncio.wait([self._worker])
        finally:
            if self._locked:
                await self._release_all()

    async def _release_all(self) -> None:
        # A thread may still wait for the claim of a cancelled task; this comes after it in the same lane.
        releasing = self._lanes.resume.start(self._context.release_claims)
        # Not after the await, which may be cancelled, too: other pushes wait for these locks.
        releasing.add_done_callback(lambda _done: self._unlock(*self._locked))
        await asyncio.shield(releasing)

    def _unlock(self, *keys: UploadKey) -> None:
        self._locks.release(*keys)
        self._locked.difference_update(keys)

    async def _work(self) -> None:
        try:
            self.result = await run_flow_async(self._context.flow, self._perform)
        except asyncio.CancelledError:
            # By somebody else than who waits for the flow, who has no cancellation of his own.
            self._inbox.put_nowait(PushInterrupted())
            raise
        except BaseException as exc:
            self._inbox.put_nowait(exc)
            if not isinstance(exc, Exception):
                raise
        else:
            self._inbox.put_nowait(None)

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case EmitEvent() | ReportRetry():
                self._inbox.put_nowait(effect)
            case SendRequest():
                return await self._send(effect)
            case Sleep(seconds):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), seconds)
            case Gather():
                return await self._gather(effect)
            case HoldsUpload():
                return self._context.perform(effect)
            case Exclusive(flow, key):
                async with self._alone_for(key):
                    return await run_flow_async(flow, self._perform)
            case _:
                return await self._perform_in_lane(effect)
        return None

    def _alone_for(self, key: str) -> asyncio.Lock:
        return self._alone.setdefault(key, asyncio.Lock())

    async def _perform_in_lane(self, effect: Effect) -> Any:
        """Perform what may block: another process may hold a lock, a helper may ask its user, a blob may be large."""
        match effect:
            case ClaimUpload(key):
                others = await self._locks.acquire(key, self._woken)
                self._locked.add(key)
                return others, await self._lanes.resume.run(self._context.perform, effect)
            case ReleaseUpload(key):
                if await self._lanes.resume.run(self._context.perform, effect):
                    self._unlock(key)
            case SaveResumePoint() | ForgetResumePoint() | KeepLessons() | KeepStored() | ForgetStored():
                await self._lanes.resume.run(self._context.perform, effect)
            case FindCredential() if isinstance(self._context.credentials, GivenCredential):
                return self._context.perform(effect)
            case FindCredential(host, repository):
                source = self._context.credentials
                # A source that knows registries alone is asked once for all repositories of one.
                where = repository if isinstance(source, RepositoryCredentialSource) else ""
                return await self._lanes.credential(source, host, where)
            case Rehash(digest) if isinstance(self._context.blobs, AsyncStreamedModel):
                return await self._context.blobs.rehash(digest, cancelled=self._is_cancelled)
            case Rehash():
                return await self._lanes.hashing.run(self._context.perform, effect)
            case FindInTarget() | PutBlob() | PutManifest():
                return await self._perform_on_target(effect)
        return None

    async def _perform_on_target(self, effect: Effect) -> Any:
        target = self._context.target
        match effect:
            case PutBlob(blob) if isinstance(target, ModelTarget):
                return await self._lanes.targets.run(
                    self._context.put_blob, blob, partial(self._read_here, blob.digest)
                )
            case PutBlob(blob):
                return await self._context.put_blob_async(blob, partial(self._read, blob.digest))
            case _ if isinstance(target, ModelTarget):
                return await self._lanes.targets.run(self._context.perform, effect)
            case FindInTarget(blob):
                with self._context.blaming_target():
                    return await target.has(blob)
            case PutManifest(manifest):
                with self._context.blaming_target():
                    return await target.put_manifest(manifest)
        return None

    def _is_cancelled(self) -> bool:
        return self._context.stop.cancelled

    async def _read(self, digest: str, offset: int, size: int) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield a range for an async target."""
        body = self._paced(self._context.body(BlobSpan(digest, offset, size), self._run, self._inbox.put_nowait))
        try:
            async with aclosing(pieces_of(body)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._tell_of(pauses_of(body))

    def _read_here(self, digest: str, offset: int, size: int) -> Iterator[bytes | memoryview]:
        """Yield a range for a sync target, in a thread that is not the loop's."""
        body = self._context.body(BlobSpan(digest, offset, size), self._run, self._tell)
        if isinstance(body, AsyncSizedBody):
            body = self._paced(body)
            pieces = awaited_pieces(pieces_of(body), self._loop, self._is_cancelled)
        else:
            pieces = body = paced(body, self._context.visit.guest, self._is_cancelled)
        try:
            yield from pieces
        finally:
            for pause in pauses_of(body):
                self._tell(pause)

    def _tell(self, notice: Notice) -> None:
        """Put *notice* into the inbox, from whichever thread; before what the flow tells of after it."""
        self._loop.call_soon_threadsafe(self._inbox.put_nowait, notice)

    async def _send(self, effect: SendRequest) -> BufferedResponse | TransportError:
        request, body = effect.request, None
        if effect.span is not None:
            body = self._context.body(effect.span, self._run, self._inbox.put_nowait)
            request = attrs.evolve(request, body=self._paced(body), hold_seconds=effect.span.hold_seconds)
        called = asyncio.Event()
        turn = self._context.visit.turn(request, partial(self._loop.call_soon_threadsafe, called.set))
        result: BufferedResponse | TransportError | None = None
        try:
            await self._begin(turn, called)
            if isinstance(request, BlobRequest):
                async with AsyncExitStack() as block:
                    result = await open_blob_async(self._transport, request, block)
            else:
                result = await send_request_async(self._transport, request)
        except Exception as exc:  # noqa: BLE001 - the context decides what it means
            result = self._context.failed_request(exc, body, self._transport)
        finally:
            turn.end(result)
            self._tell_of(pauses_of(request.body))
            await self._consult(turn)
        return result

    def _paced(self, body: Any) -> Any:
        guest = self._context.visit.guest
        if guest.piece_bytes is None:
            return body
        return AsyncPacedBody(lambda: pieces_of(body), len(body), guest, asyncio.sleep)

    def _tell_of(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._inbox.put_nowait(notice)

    async def _begin(self, turn: Turn, called: asyncio.Event) -> None:
        """Wait until the registry bears one more request."""
        while (seconds := turn.begin()) is not None:
            if self._context.stop.interrupted:
                raise PushInterrupted
            self._tell_of(turn.take_news())
            await self._consult(turn)
            with suppress(TimeoutError):
                await asyncio.wait_for(called.wait(), seconds)
            called.clear()
        self._tell_of(turn.pauses)

    async def _consult(self, turn: Turn) -> None:
        if turn.is_due:
            await self._lanes.breakers.run(turn.consult)

    async def _gather(self, effect: Gather[Any]) -> list[Any]:
        flows = GatheredFlows(effect, self._context.stop)

        async def work() -> None:
            try:
                for index, flow in flows.take():
                    flows.returned[index] = await run_flow_async(flow, self._perform)
            except Exception as exc:  # noqa: BLE001 - it belongs to the flow that waits
                flows.failures.append(exc)
                self.interrupt()

        tasks = [asyncio.create_task(work(), name="ollama-push-blob") for _ in range(flows.workers)]
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            # gather() has cancelled the tasks; it does not wait for them.
            await asyncio.wait(tasks)
            raise
        return flows.results()
