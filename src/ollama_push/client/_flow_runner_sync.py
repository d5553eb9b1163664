"""Carries out the effects of flows, with threads. Its twin is ``_flow_runner_async.py``; keep the same order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

import attrs

from ollama_push.client._flow_context import FlowContext, GatheredFlows, RecentUploads
from ollama_push.client._flows_sync import open_blob, run_flow, send_request
from ollama_push.client._guest import Turn
from ollama_push.client._paced_bodies import paced, pauses_of
from ollama_push.client._streams_sync import StreamedModel
from ollama_push.core.errors import PushInterrupted, TransportError
from ollama_push.core.ports import CancelsRequests, HttpRequest, Transport
from ollama_push.core.registry.effects import (
    ClaimUpload,
    Effect,
    EmitEvent,
    Exclusive,
    Flow,
    Gather,
    Notice,
    PutBlob,
    Rehash,
    ReleaseUpload,
    ReportPause,
    ReportRetry,
    Sleep,
)
from ollama_push.core.registry.resume import UploadKey
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.responses import BlobRequest, BlobSpan, BufferedResponse, SendRequest

__all__ = ["FlowRunner", "UploadLocks"]

R = TypeVar("R")
T = TypeVar("T")

_POLL_SECONDS: Final = 0.2
"""How long a push that waits for another one may take to notice an interruption."""
_CANCEL_SECONDS: Final = 2.0
"""How long threads get to notice that they are cancelled; they are daemons and end by themselves."""
_CANCEL_AGAIN_SECONDS: Final = 0.05
"""Until requests are cancelled again: the transport may not have known one of them yet."""


class UploadLocks:
    """Lets one push at a time upload a blob to a repository; the others wait, and find it stored."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[UploadKey] = set()
        self._recent = RecentUploads()

    def acquire(self, key: UploadKey, interrupted: Callable[[], bool]) -> bool:
        """Wait for the lock; return whether another push holds or held it: then the blob may be stored.

        Raises:
            PushInterrupted: *interrupted* said yes meanwhile.
        """
        with self._changed:
            others = key in self._held or key in self._recent
            while key in self._held and not interrupted():
                self._changed.wait(_POLL_SECONDS)
            if key in self._held:
                raise PushInterrupted
            self._held.add(key)
            return others

    def release(self, *keys: UploadKey) -> None:
        """Let others acquire the locks."""
        with self._changed:
            self._held.difference_update(keys)
            self._recent.add(*keys)
            self._changed.notify_all()


@attrs.define(eq=False, repr=False)
class FlowRunner(Generic[R]):
    """Runs one flow.

    Args:
        context: The flow, and what it may use.
        transport: Moves the bytes.
        locks: Shared by all flows of a client.
        run: Counts what is sent; needed by flows that send blobs.

    Attributes:
        result: What the flow returned, once ``notices`` is over.
    """

    _context: FlowContext[R]
    _transport: Transport
    _locks: UploadLocks
    _run: RegistryRun | None = None
    result: R = attrs.field(init=False)
    # Not an Event: a signal handler must not need a lock that the thread it interrupts may hold.
    _wake: SimpleQueue[None] = attrs.field(factory=SimpleQueue, init=False)
    # The last message of the threads is how the flow ended: None, or the exception.
    _inbox: SimpleQueue[Notice | BaseException | None] = attrs.field(factory=SimpleQueue, init=False)
    _worker: threading.Thread | None = attrs.field(default=None, init=False)
    _alone: dict[str, threading.Lock] = attrs.field(factory=dict, init=False)
    _guard: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _requests: dict[object, HttpRequest] = attrs.field(factory=dict, init=False)
    _feeders: list[FlowRunner[Any]] = attrs.field(factory=list, init=False)

    def interrupt(self) -> None:
        """End the flow where nothing is lost."""
        for feeder in self._feeders:
            feeder.interrupt()
        self._context.stop.interrupted = True
        self._wake.put(None)

    def notices(self) -> Iterator[Notice]:
        """Run the flow in threads of its own; yield its notices in the caller's."""
        self._worker = threading.Thread(target=self._work, name="ollama-push", daemon=True)
        self._worker.start()
        while isinstance(message := self._inbox.get(), EmitEvent | ReportRetry | ReportPause):
            yield message
        if message is not None:
            raise message

    def run(self, flow: Flow[T]) -> T:
        """Run another *flow* with what this one may use, in the caller's thread; its notices join those of this one."""
        return run_flow(flow, self._perform)

    def feed(self, other: FlowRunner[Any]) -> None:
        """Let *other*, which is sent what this one reads, tell of its notices, interrupt and cancel it."""
        self._inbox = other._inbox
        other._feeders.append(self)
        # A request whose body this one reads may have the last turn that their registry gives.
        self._context.visit = other._context.visit.beside()

    def cancel(self) -> None:
        """End what still runs, at once, and release what is claimed. Idempotent."""
        for feeder in self._feeders:
            feeder.cancel()
        with self._guard:
            self._context.stop.cancelled = True
        try:
            self.interrupt()
            self._cancel_requests()
        finally:
            self._locks.release(*self._context.release_claims())

    def _cancel_requests(self) -> None:
        self._cancel_requests_once()
        deadline = time.monotonic() + _CANCEL_SECONDS
        # The worker waits for the threads that it has started.
        while self._worker is not None and self._worker.is_alive() and time.monotonic() < deadline:
            for runner in (self, *self._feeders):
                runner._cancel_requests_once()  # noqa: SLF001 - another of this class
            self._worker.join(_CANCEL_AGAIN_SECONDS)

    def _cancel_requests_once(self) -> None:
        if isinstance(self._transport, CancelsRequests):
            with self._guard:
                requests = list(self._requests.values())
            for request in requests:
                self._transport.cancel(request)

    def _work(self) -> None:
        try:
            self.result = run_flow(self._context.flow, self._perform)
        except BaseException as exc:  # noqa: BLE001 - it belongs to the thread that waits
            self._inbox.put(exc)
        else:
            self._inbox.put(None)

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case EmitEvent() | ReportRetry():
                self._inbox.put(effect)
            case SendRequest():
                return self._send(effect)
            case Sleep(seconds):
                self._sleep(seconds)
            case Gather():
                return self._gather(effect)
            case Exclusive(flow, key):
                with self._alone_for(key):
                    return run_flow(flow, self._perform)
            case _:
                return self._perform_here(effect)
        return None

    def _perform_here(self, effect: Effect) -> Any:
        """Perform what a flow does on this machine."""
        match effect:
            case PutBlob(blob):
                return self._context.put_blob(blob, partial(self._read, blob.digest))
            case ClaimUpload():
                return self._claim(effect)
            case ReleaseUpload(key):
                if self._context.perform(effect):
                    self._locks.release(key)
            case Rehash(digest) if isinstance(self._context.blobs, StreamedModel):
                return self._context.blobs.rehash(digest, cancelled=lambda: self._context.stop.cancelled)
            case _:
                return self._context.perform(effect)
        return None

    def _alone_for(self, key: str) -> threading.Lock:
        # setdefault: two threads may get here at once, and both must end up with one lock.
        return self._alone.setdefault(key, threading.Lock())

    def _claim(self, effect: ClaimUpload) -> tuple[bool, Any]:
        others = self._locks.acquire(effect.key, lambda: self._context.stop.interrupted)
        with self._guard:
            if not self._context.stop.cancelled:
                return others, self._context.perform(effect)
        self._locks.release(effect.key)
        raise PushInterrupted

    def _sleep(self, seconds: float) -> None:
        with suppress(Empty):
            self._wake.get(timeout=seconds)
            self._wake.put(None)  # for the other threads that sleep

    def _read(self, digest: str, offset: int, size: int) -> Iterator[bytes | memoryview]:
        """Yield a range for a target."""
        body = self._paced(self._context.body(BlobSpan(digest, offset, size), self._run, self._inbox.put))
        try:
            yield from body
        finally:
            self._tell_of(pauses_of(body))

    def _send(self, effect: SendRequest) -> BufferedResponse | TransportError:
        request, body = effect.request, None
        if effect.span is not None:
            body = self._context.body(effect.span, self._run, self._inbox.put)
            request = attrs.evolve(request, body=self._paced(body), hold_seconds=effect.span.hold_seconds)
        called = threading.Event()
        turn = self._context.visit.turn(request, called.set)
        result: BufferedResponse | TransportError | None = None
        try:
            self._begin(turn, called)
            with ExitStack() as block:
                block.enter_context(self._cancellable(request))
                if isinstance(request, BlobRequest):
                    result = open_blob(self._transport, request, block)
                else:
                    result = send_request(self._transport, request)
        except Exception as exc:  # noqa: BLE001 - the context decides what it means
            result = self._context.failed_request(exc, body, self._transport)
        finally:
            turn.end(result)
            self._tell_of(pauses_of(request.body))
            self._consult(turn)
        return result

    def _paced(self, body: Any) -> Any:
        return paced(body, self._context.visit.guest, lambda: self._context.stop.cancelled)

    def _tell_of(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._inbox.put(notice)

    def _begin(self, turn: Turn, called: threading.Event) -> None:
        """Wait until the registry bears one more request."""
        while (seconds := turn.begin()) is not None:
            if self._context.stop.interrupted:
                raise PushInterrupted
            self._tell_of(turn.take_news())
            self._consult(turn)
            called.wait(seconds)
            called.clear()
        self._tell_of(turn.pauses)

    def _consult(self, turn: Turn) -> None:
        if turn.is_due:
            turn.consult()

    @contextmanager
    def _cancellable(self, request: HttpRequest) -> Iterator[None]:
        """Let ``cancel`` end *request* inside the block, unless it is too late to begin it."""
        key = object()
        with self._guard:
            if self._context.stop.cancelled:
                raise PushInterrupted
            self._requests[key] = request
        try:
            yield
        finally:
            with self._guard:
                del self._requests[key]

    def _gather(self, effect: Gather[Any]) -> list[Any]:
        flows = GatheredFlows(effect, self._context.stop)

        def work() -> None:
            try:
                for index, flow in flows.take():
                    flows.returned[index] = run_flow(flow, self._perform)
            except BaseException as exc:  # noqa: BLE001 - it belongs to the flow that waits
                flows.failures.append(exc)
                self.interrupt()

        threads = [threading.Thread(target=work, name="ollama-push-blob", daemon=True) for _ in range(flows.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return flows.results()
