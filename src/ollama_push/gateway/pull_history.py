"""Counts what is pulled through a gateway: for the limit, the status page and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import attrs

from ollama_push.contrib.metrics.catalogue import FETCHED, PULLED, PULLS, PULLS_IN_PROGRESS, MetricsSink
from ollama_push.core.observations import PushOutcome

__all__ = ["PullCounts", "PullHistory", "RunningPull"]


@attrs.frozen
class PullCounts:
    """What was pulled so far.

    Attributes:
        running: Manifests and blobs that are being sent.
        manifests: Those that were sent, whole.
        blobs: Those that were sent, whole or the range that was wanted.
        failed: Those of either kind that were not, because of the registry.
        sent_bytes: Of blobs, to clients.
        cached_bytes: Those of them that came from the cache.
    """

    running: int = 0
    manifests: int = 0
    blobs: int = 0
    failed: int = 0
    sent_bytes: int = 0
    cached_bytes: int = 0


@attrs.define(eq=False)
class RunningPull:
    """A manifest or a blob that is being sent. One that its block leaves unfinished was cancelled.

    Attributes:
        what: ``"manifest"`` or ``"blob"``.
    """

    what: str
    _sent: Callable[[int, str], None]
    _ended: Callable[[RunningPull, PushOutcome], None]
    _outcome: PushOutcome | None = attrs.field(default=None, init=False)

    def sent(self, size: int, source: str) -> None:
        """Take note of *size* bytes of a blob that went to the client, from ``"registry"`` or ``"cache"``."""
        self._sent(size, source)

    def finish(self, outcome: PushOutcome) -> None:
        """Note the outcome. A second call changes nothing."""
        if self._outcome is None:
            self._outcome = outcome
            self._ended(self, outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.finish(PushOutcome.CANCELLED)


class PullHistory:
    """The pulls of one gateway. Belongs to one event loop.

    Args:
        limit: Manifests and blobs that may be sent at the same time.
        sink: Takes the measurements; ``None`` for none.

    Attributes:
        limit: As given.
        counts: So far.
    """

    def __init__(self, limit: int, sink: MetricsSink | None) -> None:
        self.limit = limit
        self.counts: PullCounts = PullCounts()
        self._sink = sink

    def begin(self, what: str) -> RunningPull | None:
        """Add a pull; ``None`` when as many run as may."""
        if self.counts.running >= self.limit:
            return None
        self.counts = attrs.evolve(self.counts, running=self.counts.running + 1)
        if self._sink is not None:
            self._sink.gauge(PULLS_IN_PROGRESS, 1, {})
        return RunningPull(what, self._note_sent, self._note_end)

    def note_fetched(self, size: int) -> None:
        """Take note of *size* bytes that came into the cache."""
        if self._sink is not None:
            self._sink.count(FETCHED, size, {})

    def _note_sent(self, size: int, source: str) -> None:
        counts = self.counts
        cached = size if source == "cache" else 0
        self.counts = attrs.evolve(
            counts, sent_bytes=counts.sent_bytes + size, cached_bytes=counts.cached_bytes + cached
        )
        if self._sink is not None:
            self._sink.count(PULLED, size, {"source": source})

    def _note_end(self, pull: RunningPull, outcome: PushOutcome) -> None:
        counts = self.counts
        succeeded = outcome is PushOutcome.SUCCEEDED
        self.counts = attrs.evolve(
            counts,
            running=counts.running - 1,
            manifests=counts.manifests + (succeeded and pull.what == "manifest"),
            blobs=counts.blobs + (succeeded and pull.what == "blob"),
            failed=counts.failed + (outcome is PushOutcome.FAILED),
        )
        if self._sink is not None:
            self._sink.gauge(PULLS_IN_PROGRESS, -1, {})
            self._sink.count(PULLS, 1, {"what": pull.what, "outcome": outcome.value})
