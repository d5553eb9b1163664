"""Knows which pushes run and which ran lately: what limits them, and what the status page and metrics show."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Final, Self

import attrs

from ollama_push.core.events import PushEvent
from ollama_push.core.observations import PushOutcome
from ollama_push.core.progress import ProgressSnapshot, PushProgress
from ollama_push.core.redaction import redact

__all__ = ["PushHistory", "PushRecord", "RunningPush"]

_KEPT: Final = 100
"""Finished pushes that are remembered: a page of them, and a memory that does not grow."""


@attrs.frozen
class PushRecord:
    """One push at one moment. Holds no secrets: it may be shown to anybody who may see the page.

    Attributes:
        id: Counted from 1 since the gateway began.
        model: Canonical name of what is pushed.
        target: Origin of the registry, without credentials, such as ``https://registry.example.com``.
        started_unix: When it began, in seconds since 1970.
        elapsed_seconds: How long it has run, or ran.
        outcome: How it ended; ``None`` while it runs.
        progress: How far it got.
        error: Why it failed, redacted; empty unless it did.
    """

    id: int
    model: str
    target: str
    started_unix: float
    elapsed_seconds: float
    outcome: PushOutcome | None
    progress: ProgressSnapshot
    error: str = ""


class RunningPush:
    """The history's page for one push, written by whoever carries it out. ``finish`` comes last, once.

    Args:
        number: Its id.
        model: Canonical name.
        target: Origin of the registry.
        clock: Monotonic seconds.
        started_unix: Seconds since 1970.
        changed: Called after every change.
    """

    def __init__(
        self,
        number: int,
        model: str,
        target: str,
        *,
        clock: Callable[[], float],
        started_unix: float,
        changed: Callable[[RunningPush], None],
    ) -> None:
        self.id = number
        self.revision = 0
        self.outcome: PushOutcome | None = None
        self._model = model
        self._target = target
        self._clock = clock
        self._started_at = clock()
        self._started_unix = started_unix
        self._changed = changed
        self._progress = PushProgress(model=model)
        self._final: PushRecord | None = None

    def receive_event(self, event: PushEvent) -> None:
        """Take the next event."""
        if self._progress.receive_event(event, self._clock()):
            self._changed(self)

    def finish(self, outcome: PushOutcome, error: str = "") -> None:
        """Note how it ended. A second call changes nothing."""
        if self._final is None:
            self.outcome = outcome
            self._final = self._record(redact(error))
            self._changed(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.finish(PushOutcome.CANCELLED)

    def record(self) -> PushRecord:
        """Return how it stands now."""
        return self._final or self._record("")

    def _record(self, error: str) -> PushRecord:
        now = self._clock()
        return PushRecord(
            self.id,
            self._model,
            self._target,
            self._started_unix,
            now - self._started_at,
            self.outcome,
            self._progress.snapshot(now),
            error,
        )


class PushHistory:
    """The pushes of one gateway. Belongs to one event loop.

    Args:
        limit: Pushes that may run at the same time.
        kept: Finished pushes that are remembered.
        clock: Monotonic seconds.
        now: Seconds since 1970.

    Attributes:
        limit: As given.
        kept: As given.
    """

    def __init__(
        self,
        limit: int = 64,
        *,
        kept: int = _KEPT,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.limit = limit
        self.kept = kept
        self._clock = clock
        self._now = now
        self._numbers = itertools.count(1)
        self._revisions = itertools.count(1)
        self._running: dict[int, RunningPush] = {}
        self._finished: deque[RunningPush] = deque(maxlen=kept)
        self._counts = dict.fromkeys(PushOutcome, 0)
        self._watchers: set[asyncio.Event] = set()
        self._closed = False

    def begin(self, model: str, target: str) -> RunningPush | None:
        """Open a page for a push of *model* to *target*; ``None`` when as many run as may."""
        if len(self._running) >= self.limit:
            return None
        push = RunningPush(
            next(self._numbers), model, target, clock=self._clock, started_unix=self._now(), changed=self._note
        )
        self._running[push.id] = push
        self._note(push)
        return push

    @property
    def running(self) -> int:
        """How many pushes run now."""
        return len(self._running)

    @property
    def counts(self) -> Mapping[PushOutcome, int]:
        """How many pushes ended in which way, those no longer remembered included."""
        return dict(self._counts)

    def records(self) -> tuple[PushRecord, ...]:
        """Return all that is known, the newest push first, those that run before those that are over."""
        return tuple(push.record() for push in self._pages())

    async def subscribe(
        self, interval: float = 0.25, heartbeat: float = 15.0
    ) -> AsyncGenerator[tuple[PushRecord, ...], None]:
        """Yield what changed: first everything, then what is new since the yield before.

        What happens while nobody asks is folded into the next yield: a slow reader misses nothing and holds up
        nothing. Ends when the history is closed. Leave it by ``aclosing``.

        Args:
            interval: Seconds between two yields at least.
            heartbeat: Seconds after which an empty tuple is yielded when nothing changed, so that a reader that
                is gone is noticed.
        """
        woken = asyncio.Event()
        self._watchers.add(woken)
        seen = -1
        try:
            while True:
                woken.clear()
                pages = self._pages()
                newest = max((page.revision for page in pages), default=0)
                yield tuple(page.record() for page in pages if page.revision > seen)
                seen = newest
                if self._closed:
                    if all(page.revision <= seen for page in self._pages()):
                        return
                    continue
                await asyncio.sleep(interval)
                try:
                    async with asyncio.timeout(heartbeat):
                        await woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._watchers.discard(woken)

    def close(self) -> None:
        """End every subscription after what it has not told yet. Idempotent."""
        self._closed = True
        self._wake()

    def _note(self, push: RunningPush) -> None:
        push.revision = next(self._revisions)
        if push.outcome is not None and self._running.pop(push.id, None) is not None:
            self._counts[push.outcome] += 1
            self._finished.appendleft(push)
        self._wake()

    def _pages(self) -> list[RunningPush]:
        return [*reversed(self._running.values()), *self._finished]

    def _wake(self) -> None:
        for woken in self._watchers:
            woken.set()
