"""The async registry client: a thin driver of flows. Its twin is ``_registry_sync.py``; keep them in the same order."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import attrs

from ollama_push.client._copying import CopyPlaces, ReadModel, attached_file, label_of
from ollama_push.client._flow_context import FlowContext
from ollama_push.client._flow_runner_async import AsyncFlowRunner, AsyncUploadLocks
from ollama_push.client._flows_async import OwnsAsyncTransport
from ollama_push.client._hooks import telling_early_end
from ollama_push.client._lanes import Lanes
from ollama_push.client._many_async import push_many_async
from ollama_push.client._many_items import checked_jobs
from ollama_push.client._registry_arguments import AnyCredential, RegistrySettings
from ollama_push.client._registry_factory import FlowFactory
from ollama_push.client._registry_source_async import AsyncRegistrySource
from ollama_push.client._streams_async import AsyncStreamedModel, ThreadedSource
from ollama_push.core.arguments import DEFAULT_SECONDS
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import PushInterrupted, UsedAfterClose
from ollama_push.core.events import PushEvent
from ollama_push.core.names import ModelName
from ollama_push.core.ports import AsyncTransport, Hook
from ollama_push.core.pullability import Pullability
from ollama_push.core.receipts import PushPlan, PushReceipt, Verification
from ollama_push.core.registry.blob_upload.part_sizes import PartBytes
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.places import AsyncModelSource, AsyncModelTarget, ModelSource, ModelTarget, manifest_of
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.registry.target import RegistryModel
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import FileModel, ModelStore
from ollama_push.transports._event_loop import running_loop
from ollama_push.transports._process import PerProcess

__all__ = ["AsyncRegistryClient"]

M = TypeVar("M")
T = TypeVar("T")


@attrs.define(eq=False)
class _Running:
    """What one process has under way in a client.

    Attributes:
        runners: Run the flows.
        locks: Shared by all of them.
        lanes: Shared by all of them.
        interruptions: How many there were.
    """

    runners: set[AsyncFlowRunner[Any]] = attrs.field(factory=set)
    locks: AsyncUploadLocks = attrs.field(factory=AsyncUploadLocks)
    lanes: Lanes = attrs.field(factory=Lanes)
    interruptions: int = 0


class AsyncRegistryClient(OwnsAsyncTransport):
    """Pushes models from Ollama's store straight to a registry. Belongs to the event loop it is first used in.

    A forked process may use it in an event loop of its own.

    Arguments and errors are those of :class:`RegistryClient`, but for the transport, which is an async one.
    """

    def __init__(
        self,
        *,
        store: ModelStore | str | os.PathLike[str] | None = None,
        credentials: AnyCredential = None,
        transport: AsyncTransport | None = None,
        hooks: Iterable[Hook] = (),
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        concurrency: int = 4,
        plain_http: bool = False,
        verify: bool = True,
        resume: ResumeStore | None = None,
        part_bytes: PartBytes = None,
        stall_timeout: float | None = DEFAULT_SECONDS,
        force_upload: bool = False,
        mount_from: str | None = None,
        max_bytes_per_second: float | None = None,
    ) -> None:
        self._settings = RegistrySettings(
            store,
            credentials,
            hooks,
            retry,
            concurrency,
            plain_http,
            verify,
            resume,
            part_bytes,
            stall_timeout,
            force_upload,
            mount_from,
            max_bytes_per_second,
        )
        super().__init__(transport)
        self._running = PerProcess(_Running)

    async def push(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
        private: bool = False,
    ) -> PushReceipt:
        """Push a local model to the registry its name begins with; see :meth:`RegistryClient.push`."""
        context, run = await self._new_push(self._flows(credentials, plain_http), model, source, private=private)
        async with aclosing(self._events(context, run)) as events:
            async for _ in events:
                pass
        return run.result()

    def stream(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
        private: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[PushEvent]]:
        """Push and hand over the events as they come; see :meth:`RegistryClient.stream`."""
        return self._stream(self._flows(credentials, plain_http), model, source, private=private)

    async def plan(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> PushPlan:
        """Find out what a push would send, and whether it is permitted; nothing is uploaded."""
        return await self._finish(await self._made(partial(self._flows(credentials, plain_http).plan, model, source)))

    async def copy(
        self,
        source: str | RegistryModel | ModelSource | AsyncModelSource,
        target: str | RegistryModel | ModelTarget | AsyncModelTarget,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
        private: bool = False,
    ) -> PushReceipt:
        """Copy a model from wherever it is to wherever it shall be; see :meth:`RegistryClient.copy`."""
        self._require_open()
        with telling_early_end(self._settings.hooks, label_of(target), "") as begins:
            places = await self._made(
                partial(CopyPlaces, self._settings, source, target, credentials, plain_http=plain_http)
            )
            async with self._reading(places) as read:
                flows = self._flows(credentials, places.target_plain_http)
                what = read.manifest, read.blobs, read.mount_from
                context, run = await self._made(partial(flows.copy, places.target, *what, private=private))
                begins()
                async with aclosing(self._events(context, run, read.runner)) as events:
                    async for _ in events:
                        pass
                return run.result()

    async def plan_copy(
        self,
        source: str | RegistryModel | ModelSource | AsyncModelSource,
        target: str | RegistryModel | ModelTarget | AsyncModelTarget,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> PushPlan:
        """Find out what a copy would move; see :meth:`RegistryClient.plan_copy`."""
        places = await self._made(
            partial(CopyPlaces, self._settings, source, target, credentials, plain_http=plain_http)
        )
        async with self._reading(places) as read:
            flows = self._flows(credentials, places.target_plain_http)
            return await self._finish(flows.plan_copy(places.target, read.manifest))

    async def attach(
        self,
        model: str | ModelName,
        file: str | os.PathLike[str],
        media_type: str,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> PushReceipt:
        """Attach *file* to a model of a registry; see :meth:`RegistryClient.attach`."""
        async with self.source(model, credentials=credentials, plain_http=plain_http) as source:
            subject = manifest_of(await source.read_manifest(), source.label)
        attachment, blobs = await self._made(partial(attached_file, file, media_type, subject))
        flows = self._flows(credentials, plain_http)
        context, run = await self._made(partial(flows.attach, model, attachment, blobs))
        async with aclosing(self._events(context, run)) as events:
            async for _ in events:
                pass
        return run.result()

    async def tags(
        self,
        model: str | ModelName | RegistryModel,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> tuple[str, ...]:
        """Return all tags that the registry has of *model*; see :meth:`RegistryClient.tags`."""
        async with self.source(model, credentials=credentials, plain_http=plain_http) as source:
            return await source.tags()

    def source(
        self,
        model: str | ModelName | RegistryModel,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> AbstractAsyncContextManager[AsyncRegistrySource]:
        """Return a block in which a model of a registry is read; see :meth:`RegistryClient.source`."""
        named = model if isinstance(model, RegistryModel) else RegistryModel(model)
        return self._source(named, credentials, plain_http)

    async def verify(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> Verification:
        """Check that the registry holds *model*; see :meth:`RegistryClient.verify`."""
        flows = self._flows(credentials, plain_http)
        return await self._finish(await self._made(partial(flows.verification, model, source)))

    async def pullability(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> Pullability:
        """Find out whether a stock ``ollama pull`` gets *model*; see :meth:`RegistryClient.pullability`."""
        flows = self._flows(credentials, plain_http)
        return await self._finish(await self._made(partial(flows.pullability, model, source)))

    async def try_login(self, host: str, login: Login) -> bool:
        """Show *login* to the registry at *host*; see :meth:`RegistryClient.try_login`."""
        return await self._finish(self._flows(login, None).login(host))

    def push_many(self, models: Iterable[str | PushItem], *, jobs: int = 4) -> AsyncGenerator[PushVerdict, None]:
        """Push many local models, several at the same time; see :meth:`RegistryClient.push_many`.

        Who leaves the loop early wraps it in ``contextlib.aclosing``, which cancels what runs.
        """
        jobs = checked_jobs(jobs)
        self._require_open()
        running = self._running.get()
        before = running.interruptions
        return push_many_async(
            models,
            lambda item: self.push(item.model, source=item.source),
            jobs,
            lambda: running.interruptions != before,
        )

    def interrupt(self) -> None:
        """End everything that runs where nothing is lost; see :meth:`RegistryClient.interrupt`."""
        running = self._running.get()
        running.interruptions += 1
        for runner in list(running.runners):
            runner.interrupt()

    async def aclose(self) -> None:
        """End everything that runs, at once, and close the transport unless it was given.

        Waits until cancelled pushes have released their resume points. Idempotent.
        """
        self._closed = True
        self.interrupt()
        running = self._running.get()
        try:
            for runner in list(running.runners):
                await runner.cancel()
            await super().aclose()
        finally:
            await running.lanes.resume.finish()

    def _flows(self, credentials: AnyCredential, plain_http: bool | None) -> FlowFactory:  # noqa: FBT001 - handed through
        self._require_open()
        return FlowFactory(self._settings, credentials, plain_http=plain_http)

    async def _made(self, make: Callable[[], M]) -> M:
        """Have a flow made off the event loop: this reads the store."""
        running_loop(self)
        running = self._running.get()
        before = running.interruptions
        with running.lanes.in_use():
            made = await running.lanes.store.run(make)
        if running.interruptions != before:
            raise PushInterrupted
        return made

    @asynccontextmanager
    async def _stream(
        self, flows: FlowFactory, model: str | ModelName, source: str | ModelName | None, *, private: bool
    ) -> AsyncIterator[AsyncIterator[PushEvent]]:
        async with aclosing(self._events(*await self._new_push(flows, model, source, private=private))) as events:
            yield events

    async def _new_push(
        self, flows: FlowFactory, model: str | ModelName, source: str | ModelName | None, *, private: bool
    ) -> tuple[FlowContext[Delivery], RegistryRun]:
        with flows.telling(model):
            return await self._made(partial(flows.push, model, source, private=private))

    @asynccontextmanager
    async def _reading(self, places: CopyPlaces) -> AsyncIterator[ReadModel]:
        """Read the manifest of a source; what was made for the copy is closed at the end."""
        running_loop(self)
        lanes = self._running.get().lanes
        with lanes.in_use():
            async with AsyncExitStack() as made:
                for place in places.made:
                    made.push_async_callback(self._close, place)
                source = places.source
                if isinstance(source, FileModel):
                    yield ReadModel(source.manifest, source)
                    return
                if not isinstance(source, RegistryModel):
                    read = ThreadedSource(source, lanes.sources) if isinstance(source, ModelSource) else source
                    manifest = manifest_of(await read.read_manifest(), read.label)
                    yield ReadModel(manifest, AsyncStreamedModel(read, manifest))
                    return
                where = self._source(source, places.source_credentials(), places.source_plain_http)
                registry = await made.enter_async_context(where)
                manifest = manifest_of(await registry.read_manifest(), registry.label)
                blobs = AsyncStreamedModel(registry, manifest)
                mount_from = registry.name.repository if places.is_one_registry else ""
                yield ReadModel(manifest, blobs, registry.runner, mount_from)

    @asynccontextmanager
    async def _source(
        self,
        model: RegistryModel,
        credentials: AnyCredential,
        plain_http: bool | None,  # noqa: FBT001
    ) -> AsyncIterator[AsyncRegistrySource]:
        plain = model.plain_http if model.plain_http is not None else plain_http
        name, exchange, reading = self._flows(credentials, plain).reading(model)
        async with (
            self._entered(reading) as runner,
            aclosing(AsyncRegistrySource(runner, exchange, name, self._transport)) as source,
        ):
            yield source

    async def _close(self, place: Any) -> None:
        if hasattr(place, "aclose"):
            await place.aclose()
        else:
            await self._running.get().lanes.sources.run(place.close)

    async def _events(
        self, context: FlowContext[Delivery], run: RegistryRun, feeder: AsyncFlowRunner[Any] | None = None
    ) -> AsyncGenerator[PushEvent, None]:
        async with self._entered(context, run) as runner:
            if feeder is not None:
                feeder.feed(runner)
            try:
                context.begin(run)
                async for notice in runner.notices():
                    event = run.receive(notice)
                    if event is not None:
                        yield event
                yield run.succeed(runner.result)
            except Exception as exc:
                run.fail(exc)
                raise

    async def _finish(self, context: FlowContext[T]) -> T:
        async with self._entered(context) as runner:
            async for _ in runner.notices():
                pass
            return runner.result

    @asynccontextmanager
    async def _entered(
        self, context: FlowContext[T], run: RegistryRun | None = None
    ) -> AsyncIterator[AsyncFlowRunner[T]]:
        running_loop(self)
        running = self._running.get()
        runner = AsyncFlowRunner(context, self._transport, running.locks, running.lanes, run)
        running.runners.add(runner)
        with running.lanes.in_use():
            try:
                self._require_open()
                yield runner
            finally:
                # A child that was forked meanwhile has a copy of the push, which is its parent's to end.
                if running is self._running.get():
                    try:
                        await runner.cancel()
                    finally:
                        running.runners.discard(runner)
                        if run is not None:
                            run.close()

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
