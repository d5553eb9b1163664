"""A good guest: spread bytes, a limit that gives way, and a breaker that keeps quiet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clocks import Clock

from ollama_push.core.registry.guest import CircuitBreaker, ConcurrencyLimit, TokenBucket


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


def test_a_refusal_halves_the_limit_and_success_brings_it_back() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(8, clock)
    assert [limit.begin() for _ in range(9)] == [True] * 8 + [False]
    limit.end(refused=True)
    assert (limit.limit, limit.running) == (4, 7)
    limit.end(refused=True)
    assert limit.limit == 4, "it answers what was sent before"
    for _ in range(6):
        assert not limit.begin() or limit.running <= 4
        limit.end(refused=False)
    assert 4 <= limit.limit <= 6
    for _ in range(100):
        if limit.begin():
            limit.end(refused=False)
    assert limit.limit == 8


def test_the_limit_falls_to_half_of_what_ran() -> None:
    limit = ConcurrencyLimit(256, Clock())
    for _ in range(4):
        limit.begin()
    limit.end(refused=True)
    assert limit.limit == 2


def test_one_request_may_always_run() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(3, clock)
    for _ in range(10):
        assert limit.begin()
        clock.now += 2.0
        limit.end(refused=True)
    assert limit.limit == 1
    assert limit.begin()
    assert not limit.begin()


def _failing(clock: Clock, random: float = 1.0) -> CircuitBreaker:
    breaker = CircuitBreaker(clock, lambda: random)
    for _ in range(5):
        assert breaker.wait() == 0.0
        assert not breaker.is_open
        breaker.failed()
    assert breaker.is_open
    return breaker


def test_after_failures_in_a_row_nobody_asks_for_a_while() -> None:
    clock = Clock()
    breaker = _failing(clock)
    assert breaker.wait() == pytest.approx(1.0)
    clock.now += 1.0
    assert breaker.wait() == 0.0, "one may try"
    assert breaker.wait() == 1.0, "the others wait for it"
    breaker.succeeded()
    assert [breaker.wait(), breaker.wait()] == [0.0, 0.0]


def test_successes_between_failures_keep_it_closed() -> None:
    breaker = CircuitBreaker(Clock(), lambda: 1.0)
    for _ in range(20):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert not breaker.is_open


def test_pauses_grow_up_to_a_minute() -> None:
    clock = Clock()
    breaker = _failing(clock)
    pauses = []
    for _ in range(9):
        pauses.append(breaker.wait())
        clock.now += breaker.wait()
        assert breaker.wait() == 0.0
        breaker.failed()
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


@pytest.mark.parametrize(("random", "pause"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_pauses_differ_between_machines(random: float, pause: float) -> None:
    assert _failing(Clock(), random).wait() == pytest.approx(pause)


def test_what_was_sent_before_does_not_prolong_the_pause() -> None:
    clock = Clock()
    breaker = _failing(clock)
    clock.now += 0.5
    breaker.failed()
    assert breaker.wait() == pytest.approx(0.5)


def test_a_try_that_was_abandoned_leaves_the_turn_to_another_one() -> None:
    clock = Clock()
    breaker = _failing(clock)
    clock.now += 1.0
    assert breaker.wait() == 0.0
    breaker.abandoned()
    assert breaker.wait() == 0.0
