"""What both flow runners share: the stop signal of a flow, what it may use, and every decision."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable
from weakref import WeakSet

import attrs

from ollama_push.client._foreign import raise_foreign
from ollama_push.client._guest import Guest, Visit
from ollama_push.core.errors import ConnectionLost, OllamaPushError, PushInterrupted, TransportError
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.credentials import CredentialSource, credential_for
from ollama_push.core.registry.effects import (
    ClaimUpload,
    Effect,
    EmitEvent,
    FindCredential,
    FindInTarget,
    Flow,
    ForgetResumePoint,
    ForgetStored,
    Gather,
    HoldsUpload,
    KeepLessons,
    KeepStored,
    Knowledge,
    PutManifest,
    Rehash,
    ReleaseUpload,
    SaveResumePoint,
)
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.knowledge import knowledge_of
from ollama_push.core.registry.manifests import Descriptor
from ollama_push.core.registry.places import AsyncReadRange, ReadRange, place_failed
from ollama_push.core.registry.resume import InUseElsewhere, LeasedResumeStore, ResumeStore, UploadKey
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.responses import BlobSpan, failed_request
from ollama_push.local import BlobFile, BodyCancelled, blob_body

__all__ = ["FileBlobs", "FlowContext", "GatheredFlows", "RecentUploads", "StopSignal", "StreamedBlobs", "StreamedBody"]

T = TypeVar("T")

_REMEMBERED: Final = 1000
_TAKEN_OVER: Final = "this machine was stopped, and another one may have taken over the upload"


@attrs.define
class StopSignal:
    """Whether a flow is to end.

    Attributes:
        interrupted: At the next place where nothing is lost: ``PushInterrupted`` is raised there.
        cancelled: At once: bodies that are being sent end, too.
    """

    interrupted: bool = False
    cancelled: bool = False


class RecentUploads:
    """Uploads released lately, perhaps after another push found the blob missing and before it claims it."""

    def __init__(self) -> None:
        self._keys: dict[UploadKey, None] = {}

    def add(self, *keys: UploadKey) -> None:
        """Remember *keys*, and forget the oldest beyond a thousand."""
        for key in keys:
            self._keys.pop(key, None)
            self._keys[key] = None
        while len(self._keys) > _REMEMBERED:
            del self._keys[next(iter(self._keys))]

    def __contains__(self, key: UploadKey) -> bool:
        return key in self._keys


class GatheredFlows:
    """The flows of one ``Gather``: which is next, what they returned, and which failure counts.

    Attributes:
        workers: How many of the flows may run at the same time.
        returned: A result for each flow, by its index.
        failures: What workers ended in, the first one first.
    """

    def __init__(self, effect: Gather[Any], stop: StopSignal) -> None:
        self.workers = min(effect.limit, len(effect.flows))
        self.returned: list[Any] = [None] * len(effect.flows)
        self.failures: list[BaseException] = []
        self._waiting = deque(enumerate(effect.flows))
        self._stop = stop

    def take(self) -> Iterator[tuple[int, Flow[Any]]]:
        """Yield flows that were not started, until none remains or an interruption; one iterator for each worker."""
        while not self._stop.interrupted:
            try:
                indexed = self._waiting.popleft()
            except IndexError:  # another thread may have taken the last one
                return
            yield indexed

    def results(self) -> list[Any]:
        """Return what the flows returned, once all workers have ended.

        Raises:
            BaseException: The first failure; an interruption only when nothing else failed, for it is a consequence.
        """
        if self._waiting:
            self.failures.append(PushInterrupted())
        if self.failures:
            raise min(self.failures, key=lambda exc: isinstance(exc, PushInterrupted))
        return self.returned


@runtime_checkable
class FileBlobs(Protocol):
    """Blobs of this machine: a ``StoredModel``, or a ``FileModel``."""

    @property
    def files(self) -> Mapping[str, BlobFile | bytes]:
        """Where each blob is, by digest."""
        ...

    def rehash(self, digest: str, *, cancelled: Callable[[], bool]) -> bool:
        """Say whether the blob still has its digest."""
        ...


class StreamedBlobs(Protocol):
    """Blobs that come from elsewhere, and are hashed on their way."""

    def body(self, span: BlobSpan, *, moved: Callable[[int], None], cancelled: Callable[[], bool]) -> StreamedBody:
        """Return the body for *span*."""
        ...


class StreamedBody(Protocol):
    """What ``FlowContext`` must know of the body of a request."""

    failure: OllamaPushError | None

    def __len__(self) -> int: ...


@attrs.define(eq=False)
class FlowContext(Generic[T]):
    """One flow, and what it may use on this machine.

    Attributes:
        flow: What to run.
        exchange: The requests of *flow*; ``None`` when it sends none.
        stop: Ends *flow*.
        credentials: Who we are to registries.
        blobs: What is sent; ``None`` when nothing is.
        target: Where to, when that is no registry.
        visit: The flow as a guest of the registries that it asks.
    """

    flow: Flow[T]
    exchange: Exchange | None
    stop: StopSignal
    credentials: CredentialSource
    _resume: ResumeStore
    blobs: FileBlobs | StreamedBlobs | None
    target: Any = None
    visit: Visit = attrs.field(factory=lambda: Guest().visit())
    _claimed: set[UploadKey] = attrs.field(factory=set, init=False)
    _elsewhere: set[UploadKey] = attrs.field(factory=set, init=False)
    _is_sound: dict[str, bool] = attrs.field(factory=dict, init=False)

    def perform(self, effect: Effect) -> Any:
        """Perform an effect on this machine: read files, run programs. ``ReleaseUpload`` returns whether it did."""
        match effect:
            case ClaimUpload(key):
                return self._claim(key)
            case HoldsUpload(key):
                return self._holds(key)
            # After release_claims() the upload may be another push's, and a late thread must not touch it.
            case SaveResumePoint(key, point):
                return self._resume.save(key, point) if key in self._claimed else None
            case ForgetResumePoint(key):
                return self._resume.forget(key) if key in self._claimed else None
            case ReleaseUpload(key):
                if key not in self._claimed:
                    return False
                self._claimed.discard(key)
                self._release(key)
                return True
            case KeepLessons() | KeepStored() | ForgetStored():
                return self._keep(effect)
            case FindCredential(host, repository):
                return credential_for(self.credentials, host, repository)
            case Rehash(digest):
                return self._rehash(digest)
        return self._perform_on_target(effect)

    def _perform_on_target(self, effect: Effect) -> Any:
        with self.blaming_target():
            match effect:
                case FindInTarget(blob):
                    return bool(self.target.has(blob))
                case PutManifest(manifest):
                    return self.target.put_manifest(manifest)
        raise TypeError(f"{effect!r} is for the driver")

    def _claim(self, key: UploadKey) -> Any:
        self._claimed.add(key)
        found = self._resume.claim(key)
        if isinstance(found, InUseElsewhere):
            self._elsewhere.add(key)
        return found

    def _keep(self, effect: Knowledge) -> None:
        """Keep what the flow has learnt of its registry."""
        if self.exchange is None:
            raise TypeError("this flow asks no registry")
        store, endpoint = knowledge_of(self._resume), self.exchange.endpoint
        match effect:
            case KeepLessons(lessons):
                store.keep_lessons(endpoint.origin, lessons)
            case KeepStored(digests):
                store.keep_stored(endpoint.origin, endpoint.repository, digests)
            case ForgetStored(repository, digest):
                store.forget_stored(endpoint.origin, repository, digest)

    def begin(self, run: RegistryRun) -> None:
        """Begin *run*: what tracing hooks add goes with every request."""
        headers = run.begin()
        if self.exchange is not None:
            self.exchange.headers.update(headers)

    def body(self, span: BlobSpan, run: RegistryRun | None, tell: Callable[[EmitEvent], None]) -> Any:
        """Return the body for *span*; *run* counts it, *tell* is told of its progress."""
        if run is None or self.blobs is None:
            raise TypeError("this flow sends no blobs")
        moved = run.counter(span, lambda event: tell(EmitEvent(event)))
        ended = self._ended(span.digest)
        if isinstance(self.blobs, FileBlobs):
            blob, watch = self.blobs.files[span.digest], span.watch
            return blob_body(blob, span.offset, span.size, moved=moved, cancelled=ended, watch=watch)
        return self.blobs.body(span, moved=moved, cancelled=ended)

    def _ended(self, digest: str) -> Callable[[], bool]:
        """Return what says whether nobody wants the bytes of a blob any more."""
        if self.exchange is None:
            return lambda: self.stop.cancelled
        key = UploadKey(self.exchange.endpoint.origin, self.exchange.endpoint.repository, digest)
        return lambda: self.stop.cancelled or not self._holds(key)

    def put_blob(self, blob: Descriptor, read: ReadRange) -> int:
        """Have the target store *blob*; return the first byte that it asked for."""
        asked: list[int] = []
        open_reads = WeakSet[Iterator[bytes | memoryview]]()

        def noted(offset: int, size: int) -> Iterator[bytes | memoryview]:
            asked.append(offset)
            pieces = read(offset, size)
            open_reads.add(pieces)
            return pieces

        try:
            with self.blaming_target():
                self.target.put_blob(blob, noted)
        finally:
            # The traceback of a target that failed refers to what it was reading, which would stay open with it.
            for pieces in list(open_reads):
                if isinstance(pieces, Generator):
                    pieces.close()
        return min(asked, default=0)

    async def put_blob_async(self, blob: Descriptor, read: AsyncReadRange) -> int:
        """Have an async target store *blob*; return the first byte that it asked for."""
        asked: list[int] = []

        def noted(offset: int, size: int) -> AsyncIterator[bytes | memoryview]:
            asked.append(offset)
            return read(offset, size)

        with self.blaming_target():
            await self.target.put_blob(blob, noted)
        return min(asked, default=0)

    @contextmanager
    def blaming_target(self) -> Iterator[None]:
        """Raise what the target must not raise as our error."""
        try:
            yield
        except BodyCancelled:
            raise PushInterrupted from None
        except OllamaPushError:
            raise
        except Exception as exc:
            raise place_failed(Side.TARGET, self.target.label, PlaceProblem.BROKEN, words=repr(exc)) from exc

    def failed_request(self, exc: Exception, body: StreamedBody | None, transport: object) -> TransportError:
        """Return what a flow is sent instead of the response that *exc* prevented.

        Raises:
            PushInterrupted: The body ended because the flow was cancelled.
            OllamaPushError: *exc* is not the network's fault.
            Exception: *exc* is nobody's fault here.
        """
        if body is not None and body.failure is not None:
            raise body.failure from exc
        if isinstance(exc, BodyCancelled):
            if not self.stop.cancelled and self.exchange is not None:
                return ConnectionLost(self.exchange.endpoint.origin, _TAKEN_OVER)
            raise PushInterrupted from exc
        raise_foreign(exc)
        return failed_request(exc, transport)

    def _rehash(self, digest: str) -> bool:
        """Rehash a blob once a push: a file that changes later fails the body that is read from it."""
        if digest not in self._is_sound:
            if not isinstance(self.blobs, FileBlobs):
                raise TypeError("this flow has no blobs of this machine")
            self._is_sound[digest] = self.blobs.rehash(digest, cancelled=lambda: self.stop.cancelled)
        return self._is_sound[digest]

    def release_claims(self) -> set[UploadKey]:
        """Release what is still claimed, and return it. Idempotent."""
        claimed, self._claimed = self._claimed, set()
        for key in claimed:
            self._release(key)
        return claimed

    def _release(self, key: UploadKey) -> None:
        # What another process has was not claimed, and another push of this one may have claimed it since.
        if key in self._elsewhere:
            self._elsewhere.discard(key)
        else:
            self._resume.release(key)

    def _holds(self, key: UploadKey) -> bool:
        return not isinstance(self._resume, LeasedResumeStore) or self._resume.holds(key)
