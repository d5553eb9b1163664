"""What both registry clients are told at construction, and how their work starts from it. No colour."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, Self, TypeVar

import attrs

from ollama_push.client._settings import checked_hooks, report_hook
from ollama_push.core.durations import checked_seconds
from ollama_push.core.errors import (
    InvalidSetting,
    OllamaPushError,
    PushInterrupted,
    PushRejected,
    RejectionReason,
    TransportError,
    TransportMisbehaved,
)
from ollama_push.core.hooks import HookSet
from ollama_push.core.names import ModelName
from ollama_push.core.observations import PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.registry.authorizing import Authorizer
from ollama_push.core.registry.credentials import (
    AccessToken,
    Credential,
    CredentialSource,
    IdentityToken,
    Login,
    Signer,
)
from ollama_push.core.registry.effects import (
    BlobSpan,
    Claim,
    Effect,
    Emit,
    FindCredential,
    Flow,
    Forget,
    Rehash,
    Release,
    Save,
)
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.parts import PartSizes
from ollama_push.core.registry.plans import PushPlan, Verification
from ollama_push.core.registry.pushing import (
    Delivery,
    direct_name,
    plan_flow,
    push_flow,
    scopes_for,
    verify_flow,
)
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.registry.sessions import UploadKey, UploadMemory
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import BlobBody, BodyHalted, Credentials, ModelStore, StoredModel, UploadSessions

__all__ = ["Job", "RegistrySettings"]

T = TypeVar("T")

_MOST_AT_ONCE: Final = 64


class Job(Generic[T]):
    """One flow on its way, with what it may touch on this machine.

    Attributes:
        flow: What to drive.
        stopping: Set to end it at the next place where nothing is lost; then ``PushInterrupted`` is raised.
        halted: Set to break off the bodies that are being sent, too.
    """

    def __init__(
        self,
        make_flow: Callable[[Exchange], Flow[T]],
        exchange: Exchange,
        credentials: CredentialSource,
        uploads: UploadMemory,
        stored: StoredModel | None,
    ) -> None:
        self.exchange = exchange
        self.flow = make_flow(exchange)
        self.stopping = False
        self.halted = False
        self._credentials = credentials
        self._uploads = uploads
        self._stored = stored
        self._claimed: set[UploadKey] = set()

    def perform(self, effect: Effect) -> Any:
        """Do what a flow asks of this machine's disk; programs may be run, too."""
        match effect:
            case Claim(key):
                self._claimed.add(key)
                return self._uploads.claim(key)
            case Save(key, upload):
                return self._uploads.save(key, upload)
            case Forget(key):
                return self._uploads.forget(key)
            case Release(key):
                self._claimed.discard(key)
                return self._uploads.release(key)
            case FindCredential(host):
                return self._credentials.find(host)
            case Rehash(digest):
                return self._model.rehash(digest)
        raise TypeError(f"{effect!r} is the driver's own business")

    def body(self, span: BlobSpan, run: RegistryRun | None, tell: Callable[[Emit], None]) -> BlobBody:
        """Return the body for *span*; *run* counts it, *tell* is told of its progress."""
        if run is None:
            raise TypeError("this flow sends no blobs")
        moved = run.counter(span, lambda event: tell(Emit(event)))
        return BlobBody(self._model.files[span.digest], span.offset, span.size, moved=moved, halted=lambda: self.halted)

    @staticmethod
    def without_answer(exc: Exception, body: BlobBody | None, transport: object) -> TransportError:
        """Return what a flow is sent instead of an answer that *exc* kept away.

        Raises:
            PushInterrupted: The body was broken off on request.
            OllamaPushError: It is not the network's fault.
        """
        if body is not None and body.failure is not None:
            raise body.failure from exc
        if isinstance(exc, TransportError):
            return exc
        if isinstance(exc, BodyHalted):
            raise PushInterrupted from exc
        if isinstance(exc, OllamaPushError):
            raise exc
        raise TransportMisbehaved.by(transport, exc)

    def leave(self) -> None:
        """Give back what is still claimed. Idempotent."""
        while self._claimed:
            self._uploads.release(self._claimed.pop())

    @property
    def _model(self) -> StoredModel:
        if self._stored is None:
            raise TypeError("this flow has no local model")
        return self._stored


@attrs.frozen
class RegistrySettings:
    """Checked settings of a registry client; what they mean is said at ``RegistryClient``."""

    store: ModelStore
    credentials: CredentialSource
    hooks: Sequence[Hook]
    retry: RetryPolicy
    concurrency: int
    plain_http: bool
    verify: bool
    uploads: UploadMemory
    part_bytes: int | None
    stall_timeout: float

    @classmethod
    def from_arguments(
        cls,
        *,
        store: ModelStore | str | os.PathLike[str] | None,
        credentials: Credential | CredentialSource | tuple[str, str] | None,
        hooks: Iterable[Hook],
        retry: RetryPolicy,
        concurrency: int,
        uploads: UploadMemory | None,
        part_bytes: int | None,
        stall_timeout: float | None,
        plain_http: bool,
        verify: bool,
    ) -> Self:
        """Check a client's arguments.

        Raises:
            InvalidSetting: One of them cannot be used.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= _MOST_AT_ONCE:
            raise InvalidSetting("concurrency", concurrency, f"expected 1 to {_MOST_AT_ONCE}")
        if part_bytes is not None and (type(part_bytes) is not int or part_bytes < 1):
            raise InvalidSetting("part_bytes", part_bytes, "expected a number of bytes above 0, or None to adapt")
        return cls(
            store if isinstance(store, ModelStore) else ModelStore(store),
            _source_of(credentials),
            checked_hooks(hooks),
            retry,
            concurrency,
            plain_http,
            verify,
            UploadSessions() if uploads is None else uploads,
            part_bytes,
            checked_seconds("stall_timeout", stall_timeout),
        )

    def new_push(self, model: str | ModelName, source: str | ModelName | None) -> tuple[Job[Delivery], RegistryRun]:
        """Return the job of one push. The local model is read and checked here, before anything is sent."""
        name, stored = self._find(model, source)
        sizes = PartSizes(name.host, self.part_bytes)

        def flow(exchange: Exchange) -> Flow[Delivery]:
            return push_flow(
                exchange, name, stored.manifest, sizes=sizes, concurrency=self.concurrency, verify=self.verify
            )

        job = self._job(name, stored, flow)
        context = PushContext(str(name), job.exchange.endpoint.origin)
        hooks = HookSet(self.hooks, context, report_hook)
        return job, RegistryRun(stored.manifest, context=context, hooks=hooks, clock=time.monotonic)

    def new_plan(self, model: str | ModelName, source: str | ModelName | None) -> Job[PushPlan]:
        """Return the job of one dry run."""
        name, stored = self._find(model, source)

        def flow(exchange: Exchange) -> Flow[PushPlan]:
            return plan_flow(exchange, name, stored.manifest, concurrency=self.concurrency)

        return self._job(name, stored, flow)

    def new_verification(self, model: str | ModelName, source: str | ModelName | None) -> Job[Verification]:
        """Return the job of one look at what a registry holds."""
        name = direct_name(model, plain_http=self.plain_http)
        try:
            stored = self.store.load(_local(name if source is None else source))
        except PushRejected as exc:
            if source is not None or exc.reason is not RejectionReason.MODEL_NOT_FOUND:
                raise
            stored = None
        except InvalidSetting:
            if source is not None:
                raise
            stored = None  # a machine without a store can still look at a registry
        expected = stored.manifest if stored else None

        def flow(exchange: Exchange) -> Flow[Verification]:
            return verify_flow(exchange, name, expected, concurrency=self.concurrency)

        return self._job(name, stored, flow)

    def _find(self, model: str | ModelName, source: str | ModelName | None) -> tuple[ModelName, StoredModel]:
        name = direct_name(model, plain_http=self.plain_http)
        return name, self.store.load(_local(name if source is None else source))

    def _job(self, name: ModelName, stored: StoredModel | None, make: Callable[[Exchange], Flow[T]]) -> Job[T]:
        endpoint = Endpoint.of(name, plain_http=self.plain_http)
        authorizer = Authorizer(
            endpoint,
            scopes_for(name, stored.manifest if stored else None),
            plain_http=self.plain_http,
            clock=time.monotonic,
            now=time.time,
            nonce=os.urandom,
        )
        exchange = Exchange(
            endpoint,
            authorizer,
            retry=self.retry,
            chance=random.random,
            clock=time.monotonic,
            # The job is made from the exchange; it is asked only once the flow runs.
            stopping=lambda: bool(job.stopping),
            patience_seconds=self.stall_timeout,
        )
        job = Job(make, exchange, self.credentials, self.uploads, stored)
        return job


class _Always:
    """Gives the same credential to every registry: what a caller passed explicitly."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def find(self, _host: str, /) -> Credential:
        return self._credential


def _source_of(given: Credential | CredentialSource | tuple[str, str] | None) -> CredentialSource:
    if given is None:
        return Credentials()
    if isinstance(given, tuple):
        if len(given) != 2 or not all(isinstance(text, str) for text in given):  # noqa: PLR2004 - a pair
            raise InvalidSetting("credentials", "<hidden>", "expected (username, password)")
        return _Always(Login(*given))
    if isinstance(given, CredentialSource):
        return given
    if isinstance(given, Login | IdentityToken | AccessToken | Signer):
        return _Always(given)
    raise InvalidSetting("credentials", "<hidden>", "expected a Login, (username, password) or Credentials")


def _local(name: str | ModelName) -> ModelName:
    return name if isinstance(name, ModelName) else ModelName.parse_local(name)
