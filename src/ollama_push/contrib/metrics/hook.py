"""Turns observations into measurements."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import attrs

from ollama_push.contrib.metrics import catalogue
from ollama_push.contrib.metrics.catalogue import MetricsSink
from ollama_push.core.errors import PushStalled
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    EventSeen,
    Observation,
    PushContext,
    PushFinished,
    PushOutcome,
    PushStarted,
    RequestPaused,
    RequestRetried,
    RolledBack,
)
from ollama_push.core.progress import PushProgress
from ollama_push.core.receipts import PushReceipt

__all__ = ["MetricsHook"]


@attrs.define
class _Moved:
    """The progress of one push, and how many of its bytes are counted."""

    progress: PushProgress = attrs.field(factory=PushProgress)
    counted: int = 0


@attrs.define
class MetricsHook:
    """Records every measurement of ``METRICS`` in *sink*. One hook can serve any number of clients.

    Attributes:
        sink: Takes the measurements.
        model_label: Add the label ``model`` to ``pushes``; off by default, because there can be many names.
        min_interval: Seconds between two updates of the moved bytes.
    """

    sink: MetricsSink
    model_label: bool = False
    min_interval: float = 1.0
    _moved: WeakKeyDictionary[PushContext, _Moved] = attrs.field(factory=WeakKeyDictionary, init=False, repr=False)

    def __call__(self, seen: Observation, /) -> None:
        """Measure *seen*."""
        sink = self.sink
        match seen:
            case EventSeen(push=push, event=event, elapsed=elapsed):
                moved = self._moved.setdefault(push, _Moved())
                moved.progress.receive_event(event, elapsed)
                self._count_moved(moved)
            case PushStarted():
                sink.gauge(catalogue.IN_PROGRESS, 1, {})
            case AttemptStarted(push=push, attempt=attempt):
                sink.count(catalogue.ATTEMPTS, 1, {})
                if attempt > 1:
                    self._moved.setdefault(push, _Moved()).progress.restart()
            case PushFinished():
                self._finish(seen)
            case _:
                self._count(seen)

    def _count(self, seen: Observation) -> None:
        """Count what says nothing more than that it happened."""
        sink = self.sink
        match seen:
            case RolledBack(rolled_back_bytes=count):
                sink.count(catalogue.ROLLBACKS, 1, {})
                sink.count(catalogue.ROLLED_BACK_BYTES, count, {})
            case AttemptFailed(error=error, retry_in=retry_in) | RequestRetried(error=error, retry_in=retry_in):
                if isinstance(error, PushStalled):
                    sink.count(catalogue.STALLS, 1, {})
                if retry_in is not None:
                    sink.count(catalogue.RETRIES, 1, {"cause": type(error).__name__})
            case RequestPaused(reason=reason, seconds=seconds):
                sink.count(catalogue.PAUSED, seconds, {"reason": reason.value})
            case _:
                pass

    def _finish(self, seen: PushFinished) -> None:
        outcome = seen.outcome.value
        labels = {"outcome": outcome, "error": type(seen.error).__name__ if seen.error is not None else ""}
        if self.model_label:
            labels["model"] = seen.push.model
        self.sink.gauge(catalogue.IN_PROGRESS, -1, {})
        self.sink.count(catalogue.PUSHES, 1, labels)
        self.sink.observe(catalogue.DURATION, seen.elapsed, {"outcome": outcome})
        if seen.receipt is not None:
            self._count_delivered(seen.receipt)
        moved = self._moved.pop(seen.push, None)
        if moved is not None and seen.outcome is PushOutcome.SUCCEEDED and moved.counted and seen.elapsed > 0:
            self.sink.observe(catalogue.THROUGHPUT, moved.counted / seen.elapsed, {})

    def _count_delivered(self, receipt: PushReceipt) -> None:
        delivered = {"sent": receipt.sent_bytes, "skipped": receipt.skipped_bytes, "resumed": receipt.resumed_bytes}
        for how, count in delivered.items():
            if count is not None:
                self.sink.count(catalogue.DELIVERED, count, {"how": how})

    def _count_moved(self, moved: _Moved) -> None:
        now = moved.progress.moved_bytes
        if now > moved.counted:
            self.sink.count(catalogue.BYTES, now - moved.counted, {})
            moved.counted = now
