"""Runs flows without input and output: one after the other, with time as a number and the peer as a function.

Everything a flow asks for is written down, so tests can look at what was asked and in which order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final, TypeVar

from tests.support.clocks import Clock

from ollama_push.core.errors import OllamaPushError, PushInterrupted, TransportError
from ollama_push.core.events import PushEvent
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.credentials import Credential
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
    PutBlob,
    PutManifest,
    Rehash,
    ReleaseUpload,
    ReportRetry,
    SaveResumePoint,
    Sleep,
)
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.resume import FinishedElsewhere, InUseElsewhere, ResumePoint, UploadKey
from ollama_push.core.responses import BlobSpan, BufferedResponse, SendRequest
from ollama_push.core.retry import RetryPolicy

__all__ = ["HOST", "ORIGIN", "DictMemory", "FlowPlayer", "Responder", "no_answers", "refuse", "response", "responses"]

T = TypeVar("T")

Responder = Callable[[HttpRequest, bytes], BufferedResponse | TransportError]
"""What answers a request; its second argument is the body, read from the store when it is a span."""

HOST: Final = "reg.test:5000"
ORIGIN: Final = f"https://{HOST}"


def response(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> BufferedResponse:
    """Return an answer."""
    return BufferedResponse(status, headers or {}, body)


def refuse(status: int, code: str, message: str = "") -> BufferedResponse:
    """Return an answer with one error of the distribution-spec."""
    return BufferedResponse(
        status, {}, b'{"errors":[{"code":"%s","message":"%s"}]}' % (code.encode(), message.encode())
    )


def responses(*script: BufferedResponse | TransportError) -> Responder:
    """Return a peer that gives the answers of *script* in order, and is asked no more often than that."""
    left = deque(script)

    def peer(request: HttpRequest, _body: bytes) -> BufferedResponse | TransportError:
        assert left, f"nobody expected {request.method} {request.url}"
        return left.popleft()

    return peer


no_answers: Final = responses()


def _show(span: BlobSpan, body: bytes) -> None:
    """Let the watch on *span* see its bytes, as who sends them does."""
    if span.watch is not None:
        span.watch.begin()
        span.watch.receive(memoryview(body))


class DictMemory:
    """Unfinished uploads in a dictionary, with the rules of ``LeasedResumeStore``.

    Attributes:
        elsewhere: What the next claims return, before the key is claimed.
        held_for: How many more times ``holds`` says yes, before it says no once; ``None`` for always yes.
    """

    def __init__(self, kept: Mapping[UploadKey, ResumePoint] | None = None) -> None:
        self.kept = dict(kept or {})
        self.claimed: set[UploadKey] = set()
        self.elsewhere: list[InUseElsewhere | FinishedElsewhere] = []
        self.held_for: int | None = None

    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | FinishedElsewhere | None:
        """Reserve *key*."""
        assert key not in self.claimed, "claimed twice"
        said = self.elsewhere.pop(0) if self.elsewhere else None
        if isinstance(said, InUseElsewhere):
            return said
        self.claimed.add(key)
        return said or self.kept.get(key)

    def holds(self, key: UploadKey, /) -> bool:
        """Say whether *key* is still ours."""
        assert key in self.claimed, "nothing is sent without a claim"
        if self.held_for is None:
            return True
        self.held_for -= 1
        if self.held_for >= 0:
            return True
        self.held_for = None
        return False

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        """Keep *upload*."""
        assert key in self.claimed, "saved without a claim"
        self.kept[key] = upload

    def forget(self, key: UploadKey, /) -> None:
        """Drop *key*."""
        self.kept.pop(key, None)

    def release(self, key: UploadKey, /) -> None:
        """Give *key* back."""
        self.claimed.discard(key)


class FlowPlayer:
    """Drives flows and writes down what they ask for.

    Args:
        peer: Answers requests.
        blobs: The model store, by digest.
        credentials: Who we are, by host.
        memory: Unfinished uploads.
        retry: When to try again.
        plain_http: Whether the registry is spoken to in plain HTTP.
        most_effects: More than these are a loop.
        body_timeout: Longest silence while a body is sent.
    """

    def __init__(
        self,
        peer: Responder = no_answers,
        *,
        blobs: Iterable[tuple[str, bytes]] = (),
        credentials: Mapping[str, Credential] | None = None,
        memory: DictMemory | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        plain_http: bool = False,
        host: str = HOST,
        repository: str = "me/llama",
        scopes: tuple[str, ...] = ("repository:me/llama:pull,push",),
        optional_scopes: tuple[str, ...] = (),
        most_effects: int = 5_000,
        body_timeout: float = 900.0,
    ) -> None:
        self.peer = peer
        self.blobs = dict(blobs)
        self.damaged: set[str] = set()
        self.had_by_others: set[UploadKey] = set()
        self.target: set[str] = set()
        self.resumed: dict[str, int] = {}
        self.credentials = dict(credentials or {})
        self.memory = memory or DictMemory()
        self.clock = Clock()
        self.interrupted = False
        self.effects: list[Effect] = []
        self.most_at_once = 0
        self._occupied: set[str] = set()
        self._most_effects = most_effects
        self.endpoint = Endpoint.of(host, repository, plain_http=plain_http)
        self.authorizer = Authorizer(
            self.endpoint,
            scopes,
            plain_http=plain_http,
            clock=self.clock,
            now=lambda: 1_700_000_000.9,
            nonce=lambda size: b"\xfb" * size,
            optional_scopes=optional_scopes,
        )
        self.exchange = Exchange(
            self.endpoint,
            self.authorizer,
            retry=retry,
            random=lambda: 1.0,
            clock=self.clock,
            interrupted=lambda: self.interrupted,
            body_timeout=body_timeout,
        )

    def play(self, flow: Flow[T]) -> T:
        """Drive *flow* to its end; return what it returns, or raise what it raises."""
        steps = self._follow(flow)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's value is untyped

    def of(self, kind: type[T]) -> list[T]:
        """Return the effects of one kind, in order."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def requests(self) -> list[HttpRequest]:
        """What was sent."""
        return [sent.request for sent in self.of(SendRequest)]

    @property
    def asked(self) -> list[str]:
        """What was sent, as ``"METHOD url"`` without the registry's origin."""
        return [f"{request.method} {request.url.removeprefix(self.endpoint.origin)}" for request in self.requests]

    @property
    def events(self) -> list[PushEvent]:
        """What hooks and callers would be told of."""
        return [emit.event for emit in self.of(EmitEvent)]

    @property
    def waits(self) -> list[float]:
        """How long was waited."""
        return [sleep.seconds for sleep in self.of(Sleep)]

    def _follow(self, flow: Flow[T]) -> Generator[None, None, T]:
        """Drive *flow*; every yield is another flow's turn."""
        try:
            effect = next(flow)
            while True:
                self.effects.append(effect)
                assert len(self.effects) <= self._most_effects, "this is a loop"
                try:
                    if isinstance(effect, Gather):
                        result: Any = yield from self._together(effect)
                    elif isinstance(effect, Exclusive):
                        result = yield from self._alone(effect)
                    else:
                        result = self._perform(effect)
                        yield
                except OllamaPushError as exc:
                    effect = flow.throw(exc)
                else:
                    effect = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a generator's value is untyped
        finally:
            flow.close()

    def _alone(self, effect: Exclusive[Any]) -> Generator[None, None, Any]:
        while effect.key in self._occupied:
            yield
        self._occupied.add(effect.key)
        try:
            return (yield from self._follow(effect.flow))
        finally:
            self._occupied.discard(effect.key)

    def _together(self, effect: Gather[Any]) -> Generator[None, None, list[Any]]:
        results: list[Any] = [None] * len(effect.flows)
        waiting = deque(enumerate(effect.flows))
        running: list[tuple[int, Generator[None, None, Any]]] = []
        failures: list[OllamaPushError] = []
        while True:
            while waiting and len(running) < effect.limit and not self.interrupted:
                index, flow = waiting.popleft()
                running.append((index, self._follow(flow)))
            if not running:
                break
            self.most_at_once = max(self.most_at_once, len(running))
            for turn in list(running):
                try:
                    next(turn[1])
                except StopIteration as end:
                    results[turn[0]] = end.value
                    running.remove(turn)
                except OllamaPushError as exc:
                    failures.append(exc)
                    self.interrupted = True
                    running.remove(turn)
            yield
        for _index, flow in waiting:
            flow.close()
            failures.append(PushInterrupted())
        for failure in sorted(failures, key=lambda exc: isinstance(exc, PushInterrupted)):
            raise failure
        return results

    def _perform(self, effect: Effect) -> Any:  # noqa: C901, PLR0912 - one case an effect
        memory = self.memory
        match effect:
            case SendRequest(request, None):
                assert isinstance(request.body, bytes)
                return self.peer(request, request.body)
            case SendRequest(request, BlobSpan() as span):
                assert request.body == b"", "a span goes with an empty body"
                body = self.blobs[span.digest][span.offset : span.offset + span.size]
                assert len(body) == span.size > 0, "the span leaves its blob"
                _show(span, body)
                return self.peer(request, body)
            case Sleep(seconds):
                assert seconds >= 0
                self.clock.now += seconds
            case FindCredential(host, _repository):
                return self.credentials.get(host)
            case Rehash(digest):
                return digest not in self.damaged
            case ClaimUpload(key):
                return key in self.had_by_others, memory.claim(key)
            case HoldsUpload(key):
                return memory.holds(key)
            case SaveResumePoint(key, upload):
                return memory.save(key, upload)
            case ForgetResumePoint(key):
                return memory.forget(key)
            case ReleaseUpload(key):
                return memory.release(key)
            case FindInTarget(blob):
                return blob.digest in self.target
            case PutBlob(blob):
                self.target.add(blob.digest)
                return self.resumed.get(blob.digest, 0)
            case PutManifest(manifest):
                self.target.add(manifest.digest)
            case EmitEvent() | ReportRetry() | KeepLessons() | KeepStored() | ForgetStored():
                pass
            case _:
                raise AssertionError(f"{effect!r} is no effect")
        return None
