"""One flow on its way, with what it may touch on this machine. No colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from ollama_push.core.errors import OllamaPushError, PushInterrupted, TransportError, TransportMisbehaved
from ollama_push.core.registry.credentials import CredentialSource
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
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.resume import ResumeStore, UploadKey
from ollama_push.core.registry.run import RegistryRun
from ollama_push.local import BlobBody, BodyHalted, StoredModel

__all__ = ["FlowContext", "RecentKeys"]

T = TypeVar("T")

_REMEMBERED: Final = 1000


class RecentKeys:
    """Uploads whose turn is over: it may have ended between another push's look at the blob and its own turn."""

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


class FlowContext(Generic[T]):
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
        resume: ResumeStore,
        stored: StoredModel | None,
    ) -> None:
        self.exchange = exchange
        self.flow = make_flow(exchange)
        self.stopping = False
        self.halted = False
        self._credentials = credentials
        self._resume = resume
        self._stored = stored
        self._claimed: set[UploadKey] = set()

    def perform(self, effect: Effect) -> Any:
        """Do what a flow asks of this machine's disk; programs may be run, too. ``Release`` says whether it did."""
        match effect:
            case Claim(key):
                self._claimed.add(key)
                return self._resume.claim(key)
            # What was given back when the caller left is somebody else's by now, whatever a late thread says.
            case Save(key, upload):
                return self._resume.save(key, upload) if key in self._claimed else None
            case Forget(key):
                return self._resume.forget(key) if key in self._claimed else None
            case Release(key):
                if key not in self._claimed:
                    return False
                self._claimed.discard(key)
                self._resume.release(key)
                return True
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

    def leave(self) -> set[UploadKey]:
        """Give back what is still claimed, and return it. Idempotent."""
        claimed, self._claimed = self._claimed, set()
        for key in claimed:
            self._resume.release(key)
        return claimed

    @property
    def _model(self) -> StoredModel:
        if self._stored is None:
            raise TypeError("this flow has no local model")
        return self._stored
