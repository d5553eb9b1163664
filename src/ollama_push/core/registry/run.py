"""One push straight to a registry, as hooks and callers see it; ``core.server.run`` is its twin.

Flows decide what happens; this module reports it: events, observations, the counters in errors and the receipt.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ollama_push.core.errors import MachineMisuse, OllamaPushError, PushInterrupted
from ollama_push.core.events import TICK_SECONDS, LayerCounter, LayerProgress, PushEvent, PushSucceeded
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    PushContext,
    PushFinished,
    PushOutcome,
    PushStarted,
    RequestPaused,
    RequestRetried,
    RolledBack,
)
from ollama_push.core.raisers import raised_by_signal
from ollama_push.core.receipts import LayerReceipt, PushReceipt
from ollama_push.core.registry.blob_upload.probe import layer_progress
from ollama_push.core.registry.effects import Notice, ReportPause, ReportRetry
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.responses import BlobSpan

__all__ = ["RegistryRun"]


class RegistryRun:
    """Reports one push.

    ``begin`` comes first, ``succeed`` or ``fail`` ends it, ``close`` comes last whatever happened. Counters are
    called by the threads that send the blobs; everything else belongs to the thread that consumes the events.

    Args:
        manifest: What is pushed.
        context: Identity of the push in observations.
        hooks: Called with every observation.
        clock: Monotonic seconds.
    """

    def __init__(self, manifest: Manifest, *, context: PushContext, hooks: HookSet, clock: Callable[[], float]) -> None:
        self._manifest = manifest
        self._context = context
        self._hooks = hooks
        self._clock = clock
        self._started_at = clock()
        self._begun = self._finished = False
        self._layers: dict[str, LayerCounter] = {}
        self._retries = 0
        self._last: PushEvent | None = None
        self._blobs = {blob.digest: _Counter(blob) for blob in manifest.blobs}
        self.receipt: PushReceipt | None = None

    def begin(self) -> dict[str, str]:
        """Tell hooks that the push begins; return the headers that tracing hooks add to every request."""
        self._started_at = self._clock()
        self._begun = True
        self._hooks.tell(PushStarted(self._context, 0.0))
        started = AttemptStarted(self._context, self._elapsed(), 1)
        self._hooks.tell(started)
        return dict(started.trace_headers)

    def counter(self, span: BlobSpan, tell: Callable[[LayerProgress], None]) -> Callable[[int], None]:
        """Return a function to call with the size of each piece of *span* that was sent.

        Args:
            span: What is being sent.
            tell: Called with an event when one is due.
        """
        counter, watch = self._blobs[span.digest], span.watch
        body = _Body()
        counter.bodies.append(body)

        def moved(size: int) -> None:
            body.sent_bytes += size
            now = self._clock()
            if now >= counter.due:
                counter.due = now + TICK_SECONDS
                so_far = span.offset + body.sent_bytes if watch is None else watch.completed
                tell(layer_progress(counter.blob, so_far))

        return moved

    def receive_event(self, event: PushEvent) -> None:
        """Tell hooks of *event*, in the order in which callers get it."""
        self._last = event
        if isinstance(event, LayerProgress):
            self._receive_layer(event)
        self._hooks.tell_event(event, self._elapsed())

    def receive(self, notice: Notice) -> PushEvent | None:
        """Tell hooks of *notice*; return the event in it, which the caller gets."""
        if isinstance(notice, ReportRetry):
            self._retries += 1
            self._hooks.tell(RequestRetried(self._context, self._elapsed(), notice.error, notice.retry_in))
            return None
        if isinstance(notice, ReportPause):
            self._hooks.tell(RequestPaused(self._context, self._elapsed(), notice.reason, notice.seconds))
            return None
        self.receive_event(notice.event)
        return notice.event

    def succeed(self, delivery: Delivery) -> PushSucceeded:
        """Take the flow's result; return the last event."""
        self.receipt = PushReceipt(
            self._context.model,
            tuple(LayerReceipt(blob.digest, blob.size) for blob in self._manifest.blobs),
            self._manifest.total_bytes,
            1,
            self._elapsed(),
            manifest_digest=self._manifest.digest,
            sent_bytes=sum(body.sent_bytes for counter in self._blobs.values() for body in counter.bodies),
            skipped_bytes=delivery.skipped_bytes,
            resumed_bytes=delivery.resumed_bytes,
            verified=delivery.verified,
            retries=self._retries,
            read_refused=delivery.read_refused,
            pullability=delivery.pullability,
        )
        event = PushSucceeded(pullability=delivery.pullability)
        self.receive_event(event)
        # Before the caller gets the event: closing the stream on it must not turn success into a cancellation.
        self._finish(PushOutcome.SUCCEEDED)
        return event

    def fail(self, exc: Exception) -> None:
        """Tell hooks that the push ends in *exc*, and complete what one of our errors knows."""
        if not isinstance(exc, OllamaPushError):  # no verdict: the caller leaves, or a bug
            self._finish(PushOutcome.CANCELLED if raised_by_signal(exc) else PushOutcome.FAILED)
            return
        exc.last_event = self._last
        exc.attempts = max(exc.attempts, 1)
        exc.bytes_moved = sum(layer.moved_bytes for layer in self._layers.values())
        self._hooks.tell(AttemptFailed(self._context, self._elapsed(), 1, exc, None))
        interrupted = isinstance(exc, PushInterrupted)
        self._finish(PushOutcome.CANCELLED if interrupted else PushOutcome.FAILED, exc)

    def result(self) -> PushReceipt:
        """Return the receipt of a push that has succeeded."""
        if self.receipt is None:
            raise MachineMisuse("result() called before the push was over")
        return self.receipt

    def close(self) -> None:
        """End the push: one without a verdict was cancelled. Idempotent."""
        self._finish(PushOutcome.CANCELLED)

    def _receive_layer(self, event: LayerProgress) -> None:
        layer = self._layers.get(event.digest)
        if layer is None:
            self._layers[event.digest] = LayerCounter(event, planned=True)
            return
        known = layer.completed or 0
        layer.receive_event(event)
        if event.completed < known:
            self._hooks.tell(RolledBack(self._context, self._elapsed(), event.digest, known - event.completed))

    def _finish(self, outcome: PushOutcome, error: OllamaPushError | None = None) -> None:
        if self._begun and not self._finished:
            self._finished = True
            self._hooks.tell(PushFinished(self._context, self._elapsed(), outcome, self.receipt, error))

    def _elapsed(self) -> float:
        return self._clock() - self._started_at


@attrs.define(eq=False)
class _Body:
    """What one request has sent of a blob; only the thread that sends it counts."""

    sent_bytes: int = 0


@attrs.define(eq=False)
class _Counter:
    """The requests of one blob, which may be sent side by side."""

    blob: Descriptor
    due: float = 0.0
    bodies: list[_Body] = attrs.field(factory=list)
