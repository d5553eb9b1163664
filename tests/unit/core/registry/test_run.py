"""What is told of a push: counters, events, observations, the receipt, and what an error knows at the end."""

from __future__ import annotations

import signal

import pytest
from tests.support.clocks import Clock

from ollama_push.core.errors import ConnectionLost, MachineMisuse, OllamaPushError, PushInterrupted
from ollama_push.core.events import LayerProgress, PushEvent, PushPlanned, PushSucceeded, StatusChanged
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    EventSeen,
    Observation,
    PauseReason,
    PushContext,
    PushFinished,
    PushOutcome,
    PushStarted,
    RequestPaused,
    RequestRetried,
    RolledBack,
)
from ollama_push.core.progress import PushProgress
from ollama_push.core.receipts import LayerReceipt, PushReceipt
from ollama_push.core.registry.blob_upload.probe import layer_progress
from ollama_push.core.registry.effects import EmitEvent, ReportPause, ReportRetry
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.responses import BlobSpan

CONTEXT = PushContext("reg.test/a/b:v1", "https://reg.test")
A, B = Descriptor(f"sha256:{'a' * 64}", 100), Descriptor(f"sha256:{'b' * 64}", 5)
MANIFEST = Manifest(b"{}", "m", (A, B))


class Told:
    """A run and what it tells."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seen: list[Observation] = []
        self.events: list[PushEvent] = []
        hooks = HookSet([self.seen.append], CONTEXT, lambda _hook, _exc: None)
        self.run = RegistryRun(MANIFEST, context=CONTEXT, hooks=hooks, clock=self.clock)

    @property
    def last(self) -> Observation:
        """What hooks were told last."""
        return self.seen[-1]


def test_a_push_begins_with_what_a_tracing_hook_wants_sent() -> None:
    told = Told()

    def trace(seen: Observation) -> None:
        if isinstance(seen, AttemptStarted):
            seen.trace_headers["traceparent"] = "00-1"

    hooks = HookSet([trace, told.seen.append], CONTEXT, lambda _hook, _exc: None)
    run = RegistryRun(MANIFEST, context=CONTEXT, hooks=hooks, clock=told.clock)
    assert run.begin() == {"traceparent": "00-1"}
    assert told.seen == [PushStarted(CONTEXT, 0.0), AttemptStarted(CONTEXT, 0.0, 1)]


def test_time_counts_from_the_beginning() -> None:
    told = Told()
    told.clock.now += 50.0
    told.run.begin()
    told.clock.now += 2.0
    told.run.receive_event(StatusChanged("x"))
    assert told.last == EventSeen(CONTEXT, 2.0, StatusChanged("x"))


def test_a_counter_tells_no_more_often_than_a_server() -> None:
    told, events = Told(), list[LayerProgress]()
    moved = told.run.counter(BlobSpan(A.digest, 10, 50), events.append)
    for size, later in ((1, 0.0), (2, 0.03), (3, 0.04), (4, 0.01)):
        told.clock.now += later
        moved(size)
    assert events == [layer_progress(A, 11), layer_progress(A, 16)]


def test_what_was_sent_twice_counts_twice() -> None:
    told = Told()
    told.run.begin()
    for span in (BlobSpan(A.digest, 0, 60), BlobSpan(A.digest, 30, 70), BlobSpan(B.digest, 0, 5)):
        told.run.counter(span, lambda _event: None)(span.size)
    told.run.succeed(Delivery(0, 0, verified=True))
    assert told.run.result().sent_bytes == 135


def test_a_counter_that_falls_is_told_before_the_event() -> None:
    told = Told()
    told.run.begin()
    for completed in (60, 40):
        told.run.receive_event(LayerProgress(A.digest, 100, completed))
    assert told.seen[-2:] == [
        RolledBack(CONTEXT, 0.0, A.digest, 20),
        EventSeen(CONTEXT, 0.0, LayerProgress(A.digest, 100, 40)),
    ]


def test_a_retry_is_told() -> None:
    told, error = Told(), ConnectionLost("https://reg.test")
    told.run.begin()
    told.run.receive(ReportRetry(error, 2.0))
    assert told.last == RequestRetried(CONTEXT, 0.0, error, 2.0)


def test_success_leaves_a_receipt() -> None:
    told = Told()
    told.run.begin()
    told.clock.now += 3.0
    assert told.run.succeed(Delivery(5, 40, verified=True)) == PushSucceeded()
    receipt = PushReceipt(
        CONTEXT.model, (LayerReceipt(A.digest, 100), LayerReceipt(B.digest, 5)), 105, 1, 3.0,
        manifest_digest=MANIFEST.digest, sent_bytes=0, skipped_bytes=5, resumed_bytes=40, verified=True,
        read_refused=False,
    )  # fmt: skip
    assert told.run.result() == receipt
    assert told.seen[-2:] == [
        EventSeen(CONTEXT, 3.0, PushSucceeded()),
        PushFinished(CONTEXT, 3.0, PushOutcome.SUCCEEDED, receipt),
    ]


def test_a_receipt_counts_one_attempt_and_every_request_that_was_sent_again() -> None:
    told = Told()
    told.run.begin()
    for _ in range(2):
        assert told.run.receive(ReportRetry(ConnectionLost("https://reg.test"), 1.0)) is None
    told.run.succeed(Delivery(0, 0, verified=True))
    assert (told.run.result().attempts, told.run.result().retries) == (1, 2)


def test_an_error_and_the_progress_count_the_same_bytes() -> None:
    told, progress, error = Told(), PushProgress(), ConnectionLost("https://reg.test")
    told.run.begin()
    events: list[PushEvent] = [PushPlanned(105), *(layer_progress(A, completed) for completed in (10, 60, 40, 70))]
    for event in events:
        assert told.run.receive(EmitEvent(event)) is event
        progress.receive_event(event, 0.0)
    told.run.fail(error)
    assert error.bytes_moved == progress.moved_bytes == 60


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ConnectionLost("https://reg.test"), PushOutcome.FAILED), (PushInterrupted(), PushOutcome.CANCELLED)],
    ids=repr,
)
def test_an_error_knows_how_far_the_push_was(error: OllamaPushError, outcome: PushOutcome) -> None:
    told = Told()
    told.run.begin()
    for event in (PushPlanned(105), layer_progress(B, 5), layer_progress(A, 10), layer_progress(A, 30)):
        told.run.receive_event(event)
    told.run.fail(error)
    assert (error.last_event, error.attempts, error.bytes_moved) == (layer_progress(A, 30), 1, 20)
    assert told.seen[-2:] == [
        AttemptFailed(CONTEXT, 0.0, 1, error, None),
        PushFinished(CONTEXT, 0.0, outcome, None, error),
    ]


def test_attempts_that_were_counted_stay() -> None:
    told, error = Told(), ConnectionLost("https://reg.test")
    error.attempts = 4
    told.run.begin()
    told.run.fail(error)
    assert error.attempts == 4


def test_leaving_without_a_verdict_is_a_cancellation_told_once() -> None:
    told = Told()
    told.run.begin()
    told.run.close()
    told.run.close()
    assert [seen for seen in told.seen if isinstance(seen, PushFinished)] == [
        PushFinished(CONTEXT, 0.0, PushOutcome.CANCELLED)
    ]


def test_a_crash_is_a_failure_told_once() -> None:
    told = Told()
    told.run.begin()
    told.run.fail(RuntimeError("a bug"))
    told.run.close()
    assert [seen for seen in told.seen if isinstance(seen, PushFinished)] == [
        PushFinished(CONTEXT, 0.0, PushOutcome.FAILED)
    ]


def test_the_exception_of_a_signal_handler_is_the_caller_who_leaves() -> None:
    def handle(_number: int, _frame: object) -> None:
        raise TimeoutError("the job's limit")

    before = signal.signal(signal.SIGUSR1, handle)
    told = Told()
    told.run.begin()
    try:
        with pytest.raises(TimeoutError) as caught:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    told.run.fail(caught.value)
    assert [seen for seen in told.seen if isinstance(seen, PushFinished)] == [
        PushFinished(CONTEXT, 0.0, PushOutcome.CANCELLED)
    ]


def test_what_never_began_does_not_end() -> None:
    told = Told()
    told.run.close()
    assert told.seen == []


def test_a_result_before_the_verdict_is_a_mistake() -> None:
    with pytest.raises(MachineMisuse):
        Told().run.result()


def test_hooks_are_told_of_a_pause_and_callers_are_not() -> None:
    told = Told()
    told.run.begin()
    told.clock.now += 3.0
    assert told.run.receive(ReportPause(PauseReason.RATE, 1.5)) is None
    assert told.last == RequestPaused(CONTEXT, 3.0, PauseReason.RATE, 1.5)
