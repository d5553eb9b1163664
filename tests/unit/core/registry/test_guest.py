"""A good guest: bytes are spread, failures are counted, and patience has an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clocks import Clock

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, TransportTimeout
from ollama_push.core.registry.breaker import CLOSED, BreakerState, BreakerStep
from ollama_push.core.registry.guest import (
    ASK_AGAIN_SECONDS,
    CircuitBreaker,
    Outcome,
    Patience,
    TokenBucket,
    health_told_by,
)
from ollama_push.core.responses import BufferedResponse, NotAsked


def test_bytes_are_spread_over_time() -> None:
    clock = Clock()
    bucket = TokenBucket(1000.0, clock)
    assert bucket.take(1000) == 0.0
    assert bucket.take(500) == pytest.approx(1.0)
    assert bucket.take(500) == pytest.approx(1.5)
    clock.now += 2.0
    assert bucket.take(1) == 0.0


def test_silence_is_not_saved_up() -> None:
    clock = Clock()
    bucket = TokenBucket(1000.0, clock)
    clock.now += 3600.0
    assert bucket.take(1000) == 0.0
    assert bucket.take(1000) == pytest.approx(0.9), "but for a moment"


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 2)), min_size=1, max_size=60))
def test_no_more_goes_out_than_allowed(steps: list[tuple[int, float]]) -> None:
    clock = Clock()
    bucket = TokenBucket(1000.0, clock)
    began, sent = clock.now, 0
    for count, pause in steps:
        clock.now += bucket.take(count)
        # What was sent before this piece is at most what the time allows, and the burst.
        assert sent <= (clock.now - began + 0.1) * 1000.0 + 0.001 + max(each for each, _ in steps)
        sent += count
        clock.now += pause


@pytest.mark.parametrize(("rate", "piece"), [(1.0, 1024), (100_000.0, 10_000), (1e9, 100_000_000)])
def test_pieces_are_a_tenth_of_a_second(rate: float, piece: int) -> None:
    assert TokenBucket(rate, Clock()).piece_bytes == piece


_URL = "https://registry.test"


def _status(status: int) -> BufferedResponse:
    return BufferedResponse(status, {}, b"")


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (_status(201), Outcome.WELL),
        (_status(404), Outcome.WELL),
        (_status(429), Outcome.WELL),
        (_status(503), Outcome.WELL),
        (_status(507), Outcome.WELL),
        (_status(500), Outcome.FAILED),
        (_status(502), Outcome.FAILED),
        (ConnectionLost(_URL), Outcome.FAILED),
        (TransportTimeout(_URL, "response", 5.0), Outcome.FAILED),
        (ConnectionLost(_URL, unread=True), Outcome.NOTHING),
        (ConnectFailed(_URL, ConnectCause.REFUSED), Outcome.NOTHING),
        (NotAsked(), Outcome.NOTHING),
        (None, Outcome.NOTHING),
    ],
    ids=repr,
)
def test_what_a_result_says_of_the_health(result: object, outcome: Outcome) -> None:
    assert health_told_by(result) is outcome


def test_who_tries_must_reach_the_registry() -> None:
    assert health_told_by(ConnectFailed(_URL, ConnectCause.REFUSED), tries=True) is Outcome.FAILED


class _Patient:
    """A registry with one breaker, and what is known of it."""

    def __init__(self, random: float = 1.0) -> None:
        self.breaker = CircuitBreaker("me", lambda: random)
        self.state = CLOSED
        self.now = 0.0

    def end(self, outcome: Outcome, *, tries: bool = False) -> BreakerStep | None:
        step = self.breaker.ended(outcome, self.state, tries=tries)
        if step is not None:
            self.state = step(self.state, self.now)
        return step

    @property
    def seconds_left(self) -> float:
        return self.breaker.seconds_left(self.state, self.now)


def test_after_five_failures_in_a_row_nobody_asks_for_a_while() -> None:
    patient = _Patient()
    for _ in range(4):
        patient.end(Outcome.FAILED)
        patient.end(Outcome.NOTHING)
        assert patient.seconds_left == 0.0
    patient.end(Outcome.FAILED)
    assert patient.seconds_left == pytest.approx(1.0)
    patient.now = 1.0
    assert patient.seconds_left == 0.0


def test_successes_between_failures_keep_it_well() -> None:
    patient = _Patient()
    for _ in range(20):
        for outcome in (Outcome.FAILED, Outcome.FAILED, Outcome.WELL):
            patient.end(outcome)
    assert patient.state == CLOSED


def test_what_was_sent_before_counts_for_nothing_but_a_success() -> None:
    patient = _Patient()
    patient.state = BreakerState(1, 5.0)
    for _ in range(10):
        assert patient.end(Outcome.FAILED) is None
        assert patient.end(Outcome.NOTHING) is None
    patient.end(Outcome.WELL)
    assert patient.state == CLOSED
    assert patient.end(Outcome.WELL) is None
    assert [patient.end(Outcome.FAILED) for _ in range(4)] == [None] * 4, "none of them is counted afterwards"


def test_pauses_grow_while_tries_fail_and_success_ends_them() -> None:
    patient = _Patient()
    patient.state = BreakerState(1, 0.0, "me", 5.0)
    patient.end(Outcome.FAILED, tries=True)
    assert patient.state == BreakerState(2, 2.0)
    patient.state = BreakerState(2, 2.0, "me", 5.0)
    patient.end(Outcome.NOTHING, tries=True)
    assert patient.state == BreakerState(2, 2.0), "another one may try at once"
    patient.end(Outcome.WELL, tries=True)
    assert patient.state == CLOSED


def test_while_another_process_tries_one_looks_now_and_then() -> None:
    patient = _Patient()
    patient.state = BreakerState(1, 0.0, "other", 5.0)
    assert patient.seconds_left == ASK_AGAIN_SECONDS
    patient.now = 5.0
    assert patient.seconds_left == 0.0, "that process has died"
    patient.state, patient.now = BreakerState(1, 0.0, "me", 5.0), 1.0
    assert patient.seconds_left == 0.0


def test_patience_counts_requests_that_wait_side_by_side_once() -> None:
    clock = Clock()
    patience = Patience(30.0, clock)
    assert (patience.left, patience.is_waiting) == (30.0, False)
    patience.begin()
    assert patience.is_waiting
    clock.now += 4.0
    patience.begin()
    clock.now += 4.0
    assert patience.left == 22.0
    patience.end()
    clock.now += 2.0
    patience.end()
    clock.now += 100.0
    assert patience.left == 20.0
    patience.begin()
    clock.now += 100.0
    assert patience.left == 0.0
    patience.end()
    assert patience.left == 0.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 9)), max_size=50))
def test_patience_only_shrinks_and_never_below_nothing(steps: list[tuple[bool, float]]) -> None:
    clock = Clock()
    patience, waiting, left = Patience(30.0, clock), 0, 30.0
    for begins, seconds in steps:
        if begins:
            patience.begin()
            waiting += 1
        elif waiting:
            patience.end()
            waiting -= 1
        clock.now += seconds
        assert 0.0 <= patience.left <= left
        assert waiting or patience.left == pytest.approx(left)
        left = patience.left
