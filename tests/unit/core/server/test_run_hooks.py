"""What hooks see of a push, in which order, and that they cannot harm it."""

from __future__ import annotations

import pytest
from tests.support.push_run import PUSH, Driven, tick

from ollama_push.core.errors import ConnectionLost, PushRejected
from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    EventSeen,
    Observation,
    PushFinished,
    PushOutcome,
    PushStarted,
    RolledBack,
)
from ollama_push.core.retry import RetryPolicy

_OK = b'{"status":"success"}\n'


def test_a_push_tried_twice_as_hooks_see_it() -> None:
    driven = Driven()
    lost = ConnectionLost("http://h:1")
    driven.clock.now += 50.0
    driven.begin()
    driven.clock.now += 1.0
    driven.feed(b'{"status":"a"}\n')
    driven.run.attempt_failed(lost)
    driven.clock.now += 1.0
    driven.begin()
    driven.clock.now += 1.0
    driven.feed(_OK)
    driven.run.close()
    assert driven.seen == [
        PushStarted(PUSH, 0.0),
        AttemptStarted(PUSH, 0.0, 1),
        EventSeen(PUSH, 1.0, StatusChanged("a")),
        AttemptFailed(PUSH, 1.0, 1, lost, 1.0),
        AttemptStarted(PUSH, 2.0, 2),
        EventSeen(PUSH, 3.0, PushSucceeded()),
        PushFinished(PUSH, 3.0, PushOutcome.SUCCEEDED, driven.run.result()),
    ]


def test_a_push_that_nobody_watches_goes_the_same_way() -> None:
    driven = Driven(watched=False)
    driven.begin()
    driven.feed(tick(9) + tick(5))
    driven.run.attempt_failed(ConnectionLost("http://h:1"))
    driven.begin()
    assert driven.feed(tick(9) + _OK) == [LayerProgress("sha256:a", 100, 9, "p"), PushSucceeded()]
    assert driven.run.result().attempts == 2


def test_a_push_that_fails_ends_in_its_error() -> None:
    driven = Driven()
    driven.begin()
    with pytest.raises(PushRejected) as caught:
        driven.feed(b'{"error":"no"}\n')
    driven.verdict(caught.value)
    driven.run.close()
    assert driven.seen[-2:] == [
        AttemptFailed(PUSH, 0.0, 1, caught.value, None),
        PushFinished(PUSH, 0.0, PushOutcome.FAILED, None, caught.value),
    ]


def test_the_error_is_complete_when_hooks_see_it() -> None:
    told: list[tuple[int, int]] = []

    def look(seen: Observation) -> None:
        if isinstance(seen, AttemptFailed):
            told.append((seen.error.attempts, seen.error.bytes_moved))

    driven = Driven(hooks=[look], retry=RetryPolicy(attempts=1))
    driven.begin()
    driven.feed(tick(60))
    driven.verdict(ConnectionLost("http://h:1"))
    assert told == [(1, 60)]


def test_a_caller_who_leaves_early_has_cancelled() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(tick(60))
    driven.clock.now += 1.0
    driven.run.close()
    driven.run.close()
    assert driven.of(PushFinished) == [PushFinished(PUSH, 1.0, PushOutcome.CANCELLED)]


def test_a_caller_who_leaves_on_the_last_event_has_succeeded() -> None:
    driven = Driven()
    driven.begin()
    events = driven.run.receive_data(_OK)
    assert next(events) == PushSucceeded()
    driven.run.close()
    assert [seen.outcome for seen in driven.of(PushFinished)] == [PushOutcome.SUCCEEDED]


def test_a_push_that_never_began_has_not_ended() -> None:
    driven = Driven()
    driven.run.close()
    assert driven.seen == []


def test_an_event_is_told_before_it_is_yielded() -> None:
    driven = Driven()
    driven.begin()
    yielded: list[PushEvent] = []
    for event in driven.run.receive_data(tick(1) + tick(2)):
        assert isinstance(driven.seen[-1], EventSeen)
        assert driven.seen[-1].event is event
        yielded.append(event)
    assert len(yielded) == 2


def test_every_repeat_is_told() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(tick(5) * 3)
    assert len(driven.of(EventSeen)) == 3


def test_events_carry_the_time_of_their_bytes_not_of_the_consumer() -> None:
    driven = Driven()
    driven.begin()
    driven.clock.now += 1.0
    for _ in driven.run.receive_data(tick(1) + tick(2)):
        driven.clock.now += 10.0
    assert [seen.elapsed for seen in driven.of(EventSeen)] == [1.0, 1.0]


def test_a_falling_counter_is_a_rollback_of_that_layer() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(tick(60) + tick(9, 9, "sha256:b") + tick(20) + tick(20) + tick(30) + tick(0))
    assert driven.of(RolledBack) == [
        RolledBack(PUSH, 0.0, "sha256:a", 40),
        RolledBack(PUSH, 0.0, "sha256:a", 30),
    ]


def test_a_new_attempt_is_no_rollback() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(tick(60))
    driven.run.attempt_failed(ConnectionLost("http://h:1"))
    driven.begin()
    driven.feed(tick(10))
    assert driven.of(RolledBack) == []


def test_a_hook_that_raises_is_reported_once_and_the_push_goes_on() -> None:
    error = RuntimeError("boom")

    def broken(_seen: Observation) -> None:
        raise error

    driven = Driven(hooks=[broken])
    driven.begin()
    assert driven.feed(tick(1) + _OK) == [LayerProgress("sha256:a", 100, 1, "p"), PushSucceeded()]
    assert driven.reports == [(broken, error)]
    assert len(driven.seen) == 5
    assert driven.run.over


def test_trace_headers_go_out_with_their_attempt_only() -> None:
    def trace(seen: Observation) -> None:
        if isinstance(seen, AttemptStarted) and seen.attempt == 1:
            seen.trace_headers["traceparent"] = "00-1"

    driven = Driven(hooks=[trace])
    first = driven.run.begin_attempt()
    assert first.headers == {**driven.request.headers, "traceparent": "00-1"}
    assert (first.method, first.url, first.body) == (driven.request.method, driven.request.url, driven.request.body)
    driven.run.receive_head(503, {})
    driven.run.attempt_failed(ConnectionLost("http://h:1"))
    assert driven.run.begin_attempt() is driven.request
