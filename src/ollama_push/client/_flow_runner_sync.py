"""Carries out the effects of flows, with threads. Its twin is ``_flow_runner_async.py``; keep the same order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

import attrs

from ollama_push.client._flow_context import FlowContext, RecentKeys
from ollama_push.core.errors import OllamaPushError, PushInterrupted, TransportError
from ollama_push.core.ports import CancelsRequests, HttpRequest, Transport
from ollama_push.core.registry.effects import Claim, Effect, Emit, Flow, Gather, News, Release, Retrying, Send, Sleep
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.responses import BufferedResponse, ResponseBuffer

__all__ = ["FlowRunner", "UploadLocks"]

T = TypeVar("T")
R = TypeVar("R")

_LOOKING_SECONDS: Final = 0.2
"""How long it takes to notice, while waiting for another push, that one's own was told to stop."""
_LEAVING_SECONDS: Final = 2.0
"""How long threads get to notice that they are to break off; they are daemons and end by themselves."""
_CANCELLING_SECONDS: Final = 0.05
"""Until requests are cancelled again: the transport may not have known one of them yet."""


class UploadLocks:
    """Lets one push at a time upload a blob to a repository; the others wait, and find it there."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: set[UploadKey] = set()
        self._had = RecentKeys()

    def take(self, key: UploadKey, giving_up: Callable[[], bool]) -> bool:
        """Wait for one's turn; return whether another had it, now or before: then the blob may be there.

        Raises:
            PushInterrupted: *giving_up* said yes meanwhile.
        """
        with self._changed:
            others = key in self._taken or key in self._had
            while key in self._taken and not giving_up():
                self._changed.wait(_LOOKING_SECONDS)
            if key in self._taken:
                raise PushInterrupted
            self._taken.add(key)
            return others

    def give(self, *keys: UploadKey) -> None:
        """Let the next have its turn."""
        with self._changed:
            self._taken.difference_update(keys)
            self._had.add(*keys)
            self._changed.notify_all()


class FlowRunner(Generic[R]):
    """Drives one job.

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
        self, job: FlowContext[R], transport: Transport, turns: UploadLocks, run: RegistryRun | None = None
    ) -> None:
        self._job = job
        self._transport = transport
        self._turns = turns
        self._run = run
        # Not an Event: a signal handler must not need a lock that the thread it interrupts may hold.
        self._wake: SimpleQueue[None] = SimpleQueue()
        # Whoever does the work reports here; the last message is how it ended: None, or the exception.
        self._inbox: SimpleQueue[News | BaseException | None] = SimpleQueue()
        self._worker = threading.Thread(target=self._work, name="ollama-push", daemon=True)
        self._guard = threading.Lock()
        self._under_way: dict[object, HttpRequest] = {}

    def interrupt(self) -> None:
        """End the job where nothing is lost."""
        self._job.stopping = True
        self._wake.put(None)

    def news(self) -> Iterator[News]:
        """Do the job in threads of its own; yield what is news, in the caller's."""
        self._worker.start()
        while isinstance(new := self._inbox.get(), Emit | Retrying):
            yield new
        if new is not None:
            raise new

    def leave(self) -> None:
        """Break off what is still under way, and give back what is claimed."""
        with self._guard:
            self._job.halted = True
        try:
            self.interrupt()
            self._cancel_requests()
        finally:
            self._turns.give(*self._job.leave())

    def _cancel_requests(self) -> None:
        deadline = time.monotonic() + _LEAVING_SECONDS
        # The worker waits for the threads that it has started.
        while self._worker.is_alive() and time.monotonic() < deadline:
            if isinstance(self._transport, CancelsRequests):
                with self._guard:
                    requests = list(self._under_way.values())
                for request in requests:
                    self._transport.cancel(request)
            self._worker.join(_CANCELLING_SECONDS)

    def _work(self) -> None:
        try:
            self.result = self._follow(self._job.flow)
        except BaseException as exc:  # noqa: BLE001 - it belongs to the thread that waits
            self._inbox.put(exc)
        else:
            self._inbox.put(None)

    def _follow(self, flow: Flow[T]) -> T:
        with closing(flow):
            try:
                effect = next(flow)
                while True:
                    try:
                        response = self._perform(effect)
                    except OllamaPushError as exc:
                        effect = flow.throw(exc)
                    else:
                        effect = flow.send(response)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's value is untyped

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Emit() | Retrying():
                self._inbox.put(effect)
            case Send():
                return self._send(effect)
            case Sleep(seconds):
                self._sleep(seconds)
            case Gather():
                return self._together(effect)
            case Claim():
                return self._claim(effect)
            case Release(key):
                if self._job.perform(effect):
                    self._turns.give(key)
            case _:
                return self._job.perform(effect)
        return None

    def _claim(self, effect: Claim) -> tuple[bool, ResumePoint | None]:
        others = self._turns.take(effect.key, lambda: self._job.stopping)
        with self._guard:
            if not self._job.halted:
                return others, self._job.perform(effect)
        self._turns.give(effect.key)
        raise PushInterrupted

    def _sleep(self, seconds: float) -> None:
        with suppress(Empty):
            self._wake.get(timeout=seconds)
            self._wake.put(None)  # for the other threads that sleep

    def _send(self, effect: Send) -> BufferedResponse | TransportError:
        request, buffer, body = effect.request, ResponseBuffer(), None
        if effect.span is not None:
            body = self._job.body(effect.span, self._run, self._inbox.put)
            request = attrs.evolve(request, body=body)
        try:
            with self._noted(request), self._transport.open(request) as response:
                for chunk in response.chunks():
                    if not buffer.receive_data(chunk):
                        break
                return buffer.response(response.status, response.headers)
        except Exception as exc:  # noqa: BLE001 - the job tells a verdict from a transport's mistake
            return self._job.without_answer(exc, body, self._transport)

    @contextmanager
    def _noted(self, request: HttpRequest) -> Iterator[None]:
        """Let *request* be hung up inside the block, unless it is too late to begin it."""
        key = object()
        with self._guard:
            if self._job.halted:
                raise PushInterrupted
            self._under_way[key] = request
        try:
            yield
        finally:
            with self._guard:
                del self._under_way[key]

    def _together(self, effect: Gather) -> list[Any]:
        results: list[Any] = [None] * len(effect.flows)
        waiting = deque(enumerate(effect.flows))
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while (item := self._next(waiting)) is not None:
                    index, flow = item
                    results[index] = self._follow(flow)
            except BaseException as exc:  # noqa: BLE001 - it belongs to the flow that waits
                failures.append(exc)
                self.interrupt()

        threads = [
            threading.Thread(target=work, name="ollama-push-blob", daemon=True)
            for _ in range(min(effect.limit, len(effect.flows)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _index, flow in waiting:
            flow.close()
            failures.append(PushInterrupted())
        # Those that were only told to stop say less than the one that was the reason.
        for failure in sorted(failures, key=lambda exc: isinstance(exc, PushInterrupted)):
            raise failure
        return results

    def _next(self, waiting: deque[tuple[int, Flow[T]]]) -> tuple[int, Flow[T]] | None:
        try:
            return None if self._job.stopping else waiting.popleft()
        except IndexError:
            return None
