"""Keeps the pushes that run and those that ended lately: for the limit, the status page and the metrics."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, Self

import attrs

from ollama_push.core.events import PushEvent
from ollama_push.core.names import MAX_NAME_CHARACTERS
from ollama_push.core.observations import PushOutcome
from ollama_push.core.peer_text import clean
from ollama_push.core.progress import ProgressSnapshot, PushProgress
from ollama_push.core.pullability import Pullability
from ollama_push.core.redaction import redact
from ollama_push.core.units import bytes_text, seconds_text

__all__ = ["PUSH_LOGGER", "PushHistory", "PushRecord", "RunningPush", "log_refusal"]

PUSH_LOGGER: Final = logging.getLogger("ollama_push.gateway.pushes")
"""One line a push, at its end; without secrets."""
_REPLICA_GONE: Final = "its replica of the gateway is gone; the next push of that model resumes it"
_KEPT: Final = 100
"""Ended pushes that are remembered: as many as fit on one page, and a limit on memory."""


@attrs.frozen
class PushRecord:
    """One push at one moment. Holds no secrets: everybody who may see the status page may see it.

    Attributes:
        id: Counted from 1 since the gateway began.
        model: Canonical name of what is pushed.
        target: Origin of the registry, without credentials, such as ``https://registry.example.com``.
        started_unix: When it began, in seconds since 1970.
        elapsed_seconds: How long it has run, or ran.
        outcome: How it ended; ``None`` while it runs.
        progress: How far it got.
        error: Why it failed, redacted; empty unless it did.
        pullability: Whether a stock ``ollama pull`` gets it from the registry; ``None`` where that is not known.
    """

    id: int
    model: str
    target: str
    started_unix: float
    elapsed_seconds: float
    outcome: PushOutcome | None
    progress: ProgressSnapshot
    error: str = ""
    pullability: Pullability | None = None

    @property
    def is_running(self) -> bool:
        """Whether the push had not ended at that moment."""
        return self.outcome is None


@attrs.define(eq=False)
class RunningPush:
    """One push in the history, while it runs and after that. A push that its block leaves unfinished was cancelled.

    Attributes:
        id: As in its records.
        model: Canonical name.
        target: Origin of the registry.
        outcome: How it ended; ``None`` while it runs.
        revision: Grows with every change; comparable between the pushes of a history.
        pullability: Whether a stock ``ollama pull`` gets it, once that is known.
    """

    id: int
    model: str
    target: str
    _clock: Callable[[], float]
    _started_unix: float
    _on_change: Callable[[RunningPush], None]
    outcome: PushOutcome | None = attrs.field(default=None, init=False)
    revision: int = attrs.field(default=0, init=False)
    pullability: Pullability | None = attrs.field(default=None, init=False)
    _started_at: float = attrs.field(init=False)
    _progress: PushProgress = attrs.field(init=False)
    _final: PushRecord | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._started_at = self._clock()
        self._progress = PushProgress(model=self.model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.finish(PushOutcome.CANCELLED)

    def receive_event(self, event: PushEvent) -> None:
        """Take the next event."""
        if self._progress.receive_event(event, self._clock()):
            self._on_change(self)

    def finish(self, outcome: PushOutcome, error: str = "", *, logged: bool = True) -> None:
        """Note the outcome, and log it if *logged* is set. A second call changes nothing."""
        if self._final is None:
            self.outcome = outcome
            self._final = self._new_record(redact(error) if error else "")
            if logged:
                _log(self._final, outcome)
            self._on_change(self)

    def record(self) -> PushRecord:
        """Return the state of the push now, or at its end."""
        return self._final or self._new_record("")

    def _new_record(self, error: str) -> PushRecord:
        now = self._clock()
        return PushRecord(
            self.id,
            self.model,
            self.target,
            self._started_unix,
            now - self._started_at,
            self.outcome,
            self._progress.snapshot(now),
            error,
            self.pullability,
        )


def log_refusal(model: str, text: str) -> None:
    """Log that no push of *model* was begun, and why; an empty name is one that is not known."""
    PUSH_LOGGER.info("refused %s: %s", clean(model, MAX_NAME_CHARACTERS) or "a push", redact(text))


def _log(record: PushRecord, outcome: PushOutcome) -> None:
    ended = f"{record.model} to {record.target}", seconds_text(record.elapsed_seconds)
    if outcome is PushOutcome.SUCCEEDED:
        PUSH_LOGGER.info("pushed %s in %s, %s", *ended, bytes_text(record.progress.completed_bytes))
    elif record.error:
        PUSH_LOGGER.info("%s %s after %s: %s", outcome.value, *ended, record.error)
    else:
        PUSH_LOGGER.info("%s %s after %s", outcome.value, *ended)


@attrs.define(eq=False)
class _PushElsewhere:
    """A push of another replica, as it was last shown."""

    _shown: PushRecord
    revision: int

    @property
    def outcome(self) -> PushOutcome | None:
        return self._shown.outcome

    def record(self) -> PushRecord:
        return self._shown


def _ended_unix(push: RunningPush | _PushElsewhere) -> float:
    record = push.record()
    return record.started_unix + record.elapsed_seconds


def _started_unix(push: RunningPush | _PushElsewhere) -> float:
    return push.record().started_unix


class PushHistory:
    """The pushes of one gateway, and what its replicas show of theirs. Belongs to one event loop.

    Args:
        limit: Pushes that may run at the same time.
        kept: Ended pushes that are remembered.
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
        self._ids = itertools.count(1)
        self._revisions = itertools.count(1)
        self._running: dict[int, RunningPush] = {}
        self._ended: deque[RunningPush] = deque(maxlen=kept)
        self._elsewhere: dict[int, _PushElsewhere] = {}
        self._lost: deque[_PushElsewhere] = deque(maxlen=kept)
        self._running_elsewhere = 0
        self._counts = dict.fromkeys(PushOutcome, 0)
        self._subscribers: set[asyncio.Event] = set()
        self._closed = False

    def begin(self, model: str, target: str) -> RunningPush | None:
        """Add a push of *model* to *target*; return ``None`` when as many run as may."""
        if len(self._running) >= self.limit:
            return None
        push = RunningPush(next(self._ids), model, target, self._clock, self._now(), self._note_change)
        self._running[push.id] = push
        self._note_change(push)
        return push

    def add_refused(self, model: str, error: str) -> None:
        """Add a push that failed before it was known where it goes; the limit does not count it, nor is it logged."""
        model = clean(model, MAX_NAME_CHARACTERS)
        push = RunningPush(next(self._ids), model, "", self._clock, self._now(), self._note_change)
        self._running[push.id] = push
        push.finish(PushOutcome.FAILED, error, logged=False)

    @property
    def running(self) -> int:
        """How many pushes run now in this gateway."""
        return len(self._running)

    @property
    def running_everywhere(self) -> int:
        """How many pushes run now, those of the other replicas included."""
        return len(self._running) + self._running_elsewhere

    def show_elsewhere(self, records: Iterable[PushRecord], running: int) -> None:
        """Take what the other replicas show now, and how many pushes run there.

        A push that ran in a replica which no longer shows it has ended with that replica.
        """
        before, self._elsewhere = self._elsewhere, {}
        self._running_elsewhere = running
        for record in records:
            known = before.pop(record.id, None)
            if known is None or known.record() != record:
                known = _PushElsewhere(record, next(self._revisions))
            self._elsewhere[record.id] = known
        for push in before.values():
            if push.outcome is None:
                lost = attrs.evolve(push.record(), outcome=PushOutcome.CANCELLED, error=_REPLICA_GONE)
                self._lost.appendleft(_PushElsewhere(lost, next(self._revisions)))
        if self._elsewhere or before:
            self._wake()

    @property
    def counts(self) -> Mapping[PushOutcome, int]:
        """How many pushes ended in which way, those no longer remembered included."""
        return dict(self._counts)

    def records(self) -> tuple[PushRecord, ...]:
        """Return all records, the newest push first, pushes that run before those that have ended."""
        return tuple(push.record() for push in self._pushes())

    def own_records(self) -> tuple[PushRecord, ...]:
        """Return the records of this gateway alone, in the same order."""
        return tuple(push.record() for push in self._own())

    async def subscribe(
        self, interval: float = 0.25, heartbeat: float = 15.0
    ) -> AsyncGenerator[tuple[PushRecord, ...], None]:
        """Yield the records that changed: first all of them, then those that changed since the yield before.

        Changes between two yields come as one record: a slow reader misses nothing and holds up nothing. Ends when
        the history is closed. Use it with ``aclosing``.

        Args:
            interval: Seconds between two yields at least.
            heartbeat: Seconds after which an empty tuple is yielded when nothing changed, so that a reader that
                is gone is noticed.
        """
        woken = asyncio.Event()
        self._subscribers.add(woken)
        seen = -1
        try:
            while True:
                woken.clear()
                pushes = self._pushes()
                newest = max((push.revision for push in pushes), default=0)
                yield tuple(push.record() for push in pushes if push.revision > seen)
                seen = newest
                if self._closed:
                    if all(push.revision <= seen for push in self._pushes()):
                        return
                    continue
                await asyncio.sleep(interval)
                try:
                    async with asyncio.timeout(heartbeat):
                        await woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._subscribers.discard(woken)

    def close(self) -> None:
        """End every subscription after the changes that it has not yielded yet. Idempotent."""
        self._closed = True
        self._wake()

    def _note_change(self, push: RunningPush) -> None:
        push.revision = next(self._revisions)
        if push.outcome is not None and self._running.pop(push.id, None) is not None:
            self._counts[push.outcome] += 1
            self._ended.appendleft(push)
        self._wake()

    def _own(self) -> list[RunningPush]:
        return [*reversed(self._running.values()), *self._ended]

    def _pushes(self) -> list[RunningPush | _PushElsewhere]:
        pushes: list[RunningPush | _PushElsewhere] = [*self._own()]
        if not self._elsewhere and not self._lost:
            return pushes
        pushes += [*self._elsewhere.values(), *self._lost]
        running = sorted((push for push in pushes if push.outcome is None), key=_started_unix, reverse=True)
        ended = sorted((push for push in pushes if push.outcome is not None), key=_ended_unix, reverse=True)
        return [*running, *ended[: self.kept]]

    def _wake(self) -> None:
        for woken in self._subscribers:
            woken.set()
