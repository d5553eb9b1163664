"""The sync registry client: a thin driver of flows. Its twin is ``_registry_async.py``; keep them in the same order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from typing import Any, TypeVar

import attrs

from ollama_push.client._copying import CopyPlaces, ReadModel, attached_file, label_of
from ollama_push.client._flow_context import FlowContext
from ollama_push.client._flow_runner_sync import FlowRunner, UploadLocks
from ollama_push.client._flows_sync import OwnsTransport
from ollama_push.client._hooks import telling_early_end
from ollama_push.client._many_items import checked_jobs
from ollama_push.client._many_sync import push_many_by, verdict_of
from ollama_push.client._registry_arguments import AnyCredential, RegistrySettings
from ollama_push.client._registry_factory import FlowFactory
from ollama_push.client._registry_source_sync import RegistrySource
from ollama_push.client._streams_sync import StreamedModel
from ollama_push.core.arguments import DEFAULT_SECONDS
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import UsedAfterClose
from ollama_push.core.events import PushEvent
from ollama_push.core.names import ModelName
from ollama_push.core.ports import Hook, Transport
from ollama_push.core.pullability import Pullability
from ollama_push.core.receipts import PushPlan, PushReceipt, Verification
from ollama_push.core.registry.blob_upload.part_sizes import PartBytes
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.places import ModelSource, ModelTarget, manifest_of
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.registry.target import RegistryModel
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import FileModel, ModelStore
from ollama_push.transports._process import PerProcess

__all__ = ["RegistryClient"]

T = TypeVar("T")


@attrs.define(eq=False)
class _Running:
    """What one process has under way in a client.

    Attributes:
        runners: Run the flows.
        locks: Shared by all of them.
        interruptions: How many there were.
    """

    runners: set[FlowRunner[Any]] = attrs.field(factory=set)
    locks: UploadLocks = attrs.field(factory=UploadLocks)
    interruptions: int = 0


class RegistryClient(OwnsTransport):
    """Pushes models from Ollama's store straight to a registry.

    Safe to share between threads, and with forked processes.

    Args:
        store: Ollama's model store; found as Ollama finds it when not given (``OLLAMA_MODELS``).
        credentials: Who we are: a ``Login``, ``(username, password)``, a token, or a source of them; when not
            given, the environment, docker's configuration and Ollama's key are asked, in this order.
        transport: Moves the bytes; built, and closed with the client, when not given.
        hooks: Called with every observation; one that raises is dropped and cannot fail a push.
        retry: When to send a request again; newly acknowledged bytes reset its count.
        concurrency: Blobs sent at the same time, 1 to 64.
        plain_http: Speak plain HTTP to the registry. Logins then travel in the clear.
        verify: Ask the registry afterwards what it holds.
        resume: Keeps unfinished uploads, and what pushes learn of registries; on disk in the user's state directory
            when not given.
        part_bytes: Size of one part of a blob, or ``"whole"`` for each blob in one request; adapted to the speed when
            not given.
        stall_timeout: Seconds without a byte sent or a response after which a body has stalled; ``None`` for no limit.
        force_upload: Send even the blobs that the registry says it has.
        mount_from: Repository of the same registry that may have the blobs, as in ``"team/base"``: it is asked to
            take them from there before they are sent.
        max_bytes_per_second: The most that all pushes of this client send together; ``None`` for no limit.

    Raises:
        InvalidSetting: An argument or environment variable cannot be used.
    """

    def __init__(
        self,
        *,
        store: ModelStore | str | os.PathLike[str] | None = None,
        credentials: AnyCredential = None,
        transport: Transport | None = None,
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to build the client again in another process, with connections of its own."""
        return _copied, (self._settings, None if self._owned else self._transport)

    def push(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
        private: bool = False,
    ) -> PushReceipt:
        """Push a local model to the registry its name begins with, and wait for the verdict.

        Args:
            model: ``host/namespace/model[:tag]``.
            source: Name of the local model when it has another; it is not copied.
            credentials: Who we are in this push, instead of the client's credentials.
            plain_http: Whether to speak plain HTTP in this push, instead of the client's setting.
            private: Whether nobody is to read the model without a login. Only Ollama's registry knows that; it is asked
                before and after, and a model that anybody can read is no success.

        Returns:
            The receipt of a push that succeeded.

        Raises:
            OllamaPushError: Any other end; the tree is in :mod:`ollama_push.core.errors`.
        """
        context, run = self._new_push(self._flows(credentials, plain_http), model, source, private=private)
        with closing(self._events(context, run)) as events:
            deque(events, maxlen=0)
        return run.result()

    def stream(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
        private: bool = False,
    ) -> AbstractContextManager[Iterator[PushEvent]]:
        """Push and hand over the events as they come; arguments and errors are those of ``push``.

        Leaving the block cancels the push at once; :meth:`interrupt` ends it where nothing is lost.
        """
        made = self._new_push(self._flows(credentials, plain_http), model, source, private=private)
        return closing(self._events(*made))

    def plan(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> PushPlan:
        """Find out what a push would send, and whether it is permitted; nothing is uploaded."""
        return self._finish(self._flows(credentials, plain_http).plan(model, source))

    def copy(
        self,
        source: str | RegistryModel | ModelSource,
        target: str | RegistryModel | ModelTarget,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
        private: bool = False,
    ) -> PushReceipt:
        """Copy a model from wherever it is to wherever it shall be, and wait for the verdict.

        Args:
            source: Where from: an object, or what the command takes (:mod:`ollama_push.local.places`).
            target: Where to, likewise.
            credentials: Who we are to the target's registry, instead of the client's credentials. A source on another
                host is not shown them.
            plain_http: Whether to speak plain HTTP to registries that do not say themselves.
            private: As in ``push``.

        Returns:
            The receipt of a copy that succeeded.

        Raises:
            OllamaPushError: Any other end.
        """
        self._require_open()
        with telling_early_end(self._settings.hooks, label_of(target), "") as begins:
            places = CopyPlaces(self._settings, source, target, credentials, plain_http=plain_http)
            with self._reading(places) as read:
                flows = self._flows(credentials, places.target_plain_http)
                what = read.manifest, read.blobs, read.mount_from
                context, run = flows.copy(places.target, *what, private=private)
                begins()
                with closing(self._events(context, run, read.runner)) as events:
                    deque(events, maxlen=0)
                return run.result()

    def plan_copy(
        self,
        source: str | RegistryModel | ModelSource,
        target: str | RegistryModel | ModelTarget,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> PushPlan:
        """Find out what a copy would move; nothing is written. Arguments and errors are those of ``copy``."""
        places = CopyPlaces(self._settings, source, target, credentials, plain_http=plain_http)
        with self._reading(places) as read:
            flows = self._flows(credentials, places.target_plain_http)
            return self._finish(flows.plan_copy(places.target, read.manifest))

    def attach(
        self,
        model: str | ModelName,
        file: str | os.PathLike[str],
        media_type: str,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> PushReceipt:
        """Attach *file* to a model of a registry: an artifact that refers to its manifest, such as an SBOM.

        Registries list it as a referrer of the model; one that has no such list gets a tag made of the model's digest.

        Args:
            model: ``host/namespace/model[:tag]``; the registry has it.
            file: What to attach.
            media_type: What it is, such as ``"application/spdx+json"``.
            credentials: As in ``push``.
            plain_http: As in ``push``.

        Returns:
            The receipt of the artifact; ``manifest_digest`` is its own.
        """
        with self.source(model, credentials=credentials, plain_http=plain_http) as source:
            subject = manifest_of(source.read_manifest(), source.label)
        attachment, blobs = attached_file(file, media_type, subject)
        context, run = self._flows(credentials, plain_http).attach(model, attachment, blobs)
        with closing(self._events(context, run)) as events:
            deque(events, maxlen=0)
        return run.result()

    def tags(
        self,
        model: str | ModelName | RegistryModel,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> tuple[str, ...]:
        """Return all tags that the registry has of *model*, in its order; other arguments are those of ``verify``."""
        with self.source(model, credentials=credentials, plain_http=plain_http) as source:
            return source.tags()

    def source(
        self,
        model: str | ModelName | RegistryModel,
        *,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> AbstractContextManager[RegistrySource]:
        """Return a block in which a model of a registry is read: its manifest, its tags, ranges of its blobs.

        What breaks is read on after every failure; no byte is hashed. Arguments and errors are those of ``verify``.
        """
        named = model if isinstance(model, RegistryModel) else RegistryModel(model)
        return self._source(named, credentials, plain_http)

    def verify(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> Verification:
        """Check that the registry holds *model*: its manifest, and every blob with its size.

        Compared with the local model *source*, or the one of the same name when there is one.

        Raises:
            VerificationFailed: Something is missing or different.
        """
        return self._finish(self._flows(credentials, plain_http).verification(model, source))

    def pullability(
        self,
        model: str | ModelName,
        *,
        source: str | ModelName | None = None,
        credentials: AnyCredential = None,
        plain_http: bool | None = None,
    ) -> Pullability:
        """Find out whether a stock ``ollama pull`` gets *model* from the registry, without us; no blob is read.

        The registry is asked as a pull asks it, without credentials. What is not there yet is asked for as far as the
        local model *source*, or the one of the same name, says what it will be.

        Raises:
            VerificationFailed: The registry has no such model, and no local one says what it will be.
            TransportError: The registry does not respond.
            ServerError: It fails.
        """
        return self._finish(self._flows(credentials, plain_http).pullability(model, source))

    def try_login(self, host: str, login: Login) -> bool:
        """Show *login* to the registry at *host*; return whether it wanted to see one.

        Raises:
            PushRejected: It does not accept the login.
        """
        return self._finish(self._flows(login, None).login(host))

    def push_many(
        self,
        models: Iterable[str | PushItem],
        *,
        jobs: int = 4,
        executor: Executor | None = None,
    ) -> Generator[PushVerdict, None, None]:
        """Push many local models, several at the same time; yield one verdict a model, in the order of their ends.

        All share the connections of this client, and what two models have in common is sent once. Leaving the loop, or
        closing the generator, cancels what runs; after :meth:`interrupt`, models that were not begun are
        ``PushInterrupted``.

        Args:
            models: Names, or items with the name of another local model; taken one by one, as pushes end.
            jobs: Pushes at the same time, 1 to 1024; with an executor, as many are handed to it at the same time.
            executor: Runs the pushes elsewhere, in threads of this process or on other machines. There, each push
                builds this client again from its arguments, which must pickle, hooks too; credentials and a store
                that were not given are looked for there. What it raises is the verdict of the model: that a worker
                died, or that it was shut down. A push that runs there is not cancelled with the loop.

        Raises:
            InvalidSetting: *jobs* is out of range.
        """
        jobs = checked_jobs(jobs)
        self._require_open()
        running = self._running.get()
        before = running.interruptions
        interrupted = lambda: running.interruptions != before  # noqa: E731 - as short as its name
        if executor is not None:
            return push_many_by(models, executor, partial(_push_anywhere, self), jobs, interrupted)
        return self._push_in_threads(models, jobs, interrupted)

    def interrupt(self) -> None:
        """End everything that runs; pushes end after the parts they are sending.

        They raise ``PushInterrupted``, and the next push resumes them. May be called from another thread or a
        signal handler.
        """
        running = self._running.get()
        running.interruptions += 1
        for runner in list(running.runners):
            runner.interrupt()

    def close(self) -> None:
        """End everything that runs, at once, and close the transport unless it was given. Idempotent."""
        self._closed = True
        self.interrupt()
        for runner in list(self._running.get().runners):
            runner.cancel()
        super().close()

    def _push_in_threads(
        self, models: Iterable[str | PushItem], jobs: int, interrupted: Callable[[], bool]
    ) -> Generator[PushVerdict, None, None]:
        runners, pool = set[FlowRunner[Any]](), ThreadPoolExecutor(jobs, "ollama-push-many")
        left = False

        def push(item: PushItem) -> PushReceipt:
            context, run = self._new_push(self._flows(None, None), item.model, item.source)
            with closing(self._events(context, run, group=runners)) as events:
                for _ in events:
                    if left:
                        break
            return run.result()

        try:
            yield from push_many_by(models, pool, partial(verdict_of, push), jobs, interrupted)
        finally:
            left = True
            for runner in list(runners):
                runner.cancel()
            pool.shutdown(cancel_futures=True)

    def _new_push(
        self, flows: FlowFactory, model: str | ModelName, source: str | ModelName | None, *, private: bool = False
    ) -> tuple[FlowContext[Delivery], RegistryRun]:
        with flows.telling(model):
            return flows.push(model, source, private=private)

    def _flows(self, credentials: AnyCredential, plain_http: bool | None) -> FlowFactory:  # noqa: FBT001 - handed through
        self._require_open()
        return FlowFactory(self._settings, credentials, plain_http=plain_http)

    @contextmanager
    def _reading(self, places: CopyPlaces) -> Iterator[ReadModel]:
        """Read the manifest of a source; what was made for the copy is closed at the end."""
        with ExitStack() as made:
            for place in places.made:
                made.callback(place.close)
            source = places.source
            if not isinstance(source, RegistryModel):
                manifest = manifest_of(source.read_manifest(), source.label)
                yield ReadModel(manifest, source if isinstance(source, FileModel) else StreamedModel(source, manifest))
                return
            where = self._source(source, places.source_credentials(), places.source_plain_http)
            registry = made.enter_context(where)
            manifest = manifest_of(registry.read_manifest(), registry.label)
            blobs = StreamedModel(registry, manifest)
            mount_from = registry.name.repository if places.is_one_registry else ""
            yield ReadModel(manifest, blobs, registry.runner, mount_from)

    @contextmanager
    def _source(
        self,
        model: RegistryModel,
        credentials: AnyCredential,
        plain_http: bool | None,  # noqa: FBT001
    ) -> Iterator[RegistrySource]:
        plain = model.plain_http if model.plain_http is not None else plain_http
        name, exchange, reading = self._flows(credentials, plain).reading(model)
        with (
            self._entered(reading) as runner,
            closing(RegistrySource(runner, exchange, name, self._transport)) as source,
        ):
            yield source

    def _events(
        self,
        context: FlowContext[Delivery],
        run: RegistryRun,
        feeder: FlowRunner[Any] | None = None,
        group: set[FlowRunner[Any]] | None = None,
    ) -> Generator[PushEvent, None, None]:
        with self._entered(context, run, group) as runner:
            if feeder is not None:
                feeder.feed(runner)
            try:
                context.begin(run)
                for notice in runner.notices():
                    event = run.receive(notice)
                    if event is not None:
                        yield event
                yield run.succeed(runner.result)
            except Exception as exc:
                run.fail(exc)
                raise

    def _finish(self, context: FlowContext[T]) -> T:
        with self._entered(context) as runner:
            deque(runner.notices(), maxlen=0)
            return runner.result

    @contextmanager
    def _entered(
        self, context: FlowContext[T], run: RegistryRun | None = None, group: set[FlowRunner[Any]] | None = None
    ) -> Iterator[FlowRunner[T]]:
        running = self._running.get()
        runner = FlowRunner(context, self._transport, running.locks, run)
        runners = (running.runners,) if group is None else (running.runners, group)
        for each in runners:
            each.add(runner)
        try:
            self._require_open()
            yield runner
        finally:
            # A child that was forked meanwhile has a copy of the push, which is its parent's to end.
            if running is self._running.get():
                try:
                    runner.cancel()
                finally:
                    for each in runners:
                        each.discard(runner)
                    if run is not None:
                        run.close()

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)


class _Copy(RegistryClient):
    """A client that was built again in another process, for one push."""


def _copied(settings: RegistrySettings, transport: Transport | None) -> RegistryClient:
    client = _Copy(transport=transport)
    client._settings = settings  # noqa: SLF001 - its own
    return client


def _push_anywhere(client: RegistryClient, item: PushItem) -> PushVerdict:
    """Push *item*; in another process, *client* is a copy, which is closed behind it."""
    try:
        return verdict_of(lambda each: client.push(each.model, source=each.source), item)
    finally:
        if isinstance(client, _Copy):
            client.close()
