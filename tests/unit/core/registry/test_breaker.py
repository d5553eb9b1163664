"""What is known of an ill registry: each step from one value to the next, in any order and by anybody."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.registry.breaker import (
    CLOSED,
    PROBE_LEASE_SECONDS,
    BreakerState,
    BreakerStep,
    Sighting,
    breakers_of,
    close_breaker,
    fail_probe,
    leave_probe,
    look,
    open_breaker,
    renew_probe,
    take_probe,
)

_OPEN = BreakerState(1, 10.0)
_PROBED = BreakerState(1, 10.0, "me", 15.0)


def test_the_first_pause_is_of_a_second_shortened_at_random() -> None:
    assert [open_breaker(random)(CLOSED, 7.0) for random in (0.0, 0.5, 1.0)] == [
        BreakerState(1, 7.5),
        BreakerState(1, 7.75),
        BreakerState(1, 8.0),
    ]


def test_who_finds_it_ill_later_does_not_prolong_the_pause() -> None:
    assert open_breaker(1.0)(_OPEN, 9.0) == _OPEN
    assert open_breaker(1.0)(_PROBED, 12.0) == _PROBED


def test_pauses_double_up_to_a_minute() -> None:
    state, pauses = open_breaker(1.0)(CLOSED, 0.0), []
    for _ in range(9):
        begun = state.until
        state = fail_probe("me", 1.0)(take_probe("me")(state, begun), begun)
        pauses.append(state.until - begun)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert fail_probe("me", 1.0)(attrs.evolve(_PROBED, pauses=10**6), 0.0).until == 60.0


def test_one_may_try_after_the_pause() -> None:
    assert take_probe("me")(CLOSED, 0.0) == CLOSED
    assert take_probe("me")(_OPEN, 9.9) == _OPEN
    assert take_probe("me")(_OPEN, 10.0) == _PROBED
    assert _PROBED.is_probed(14.9)
    assert not _PROBED.is_probed(15.0)
    assert not _OPEN.is_probed(10.0)
    assert take_probe("other")(_PROBED, 14.9) == _PROBED
    assert take_probe("other")(_PROBED, 15.0) == BreakerState(1, 10.0, "other", 20.0), "its holder has died"
    assert take_probe("me")(_PROBED, 12.0) == BreakerState(1, 10.0, "me", 17.0)


def test_only_who_has_the_turn_changes_it() -> None:
    assert renew_probe("me")(_PROBED, 14.0).probed_until == 14.0 + PROBE_LEASE_SECONDS
    assert leave_probe("me")(_PROBED, 14.0) == _OPEN
    assert fail_probe("me", 0.0)(_PROBED, 14.0) == BreakerState(2, 15.0)
    for step in (renew_probe("other"), leave_probe("other"), fail_probe("other", 1.0), look):
        assert step(_PROBED, 14.0) == _PROBED
    for step in (renew_probe("me"), leave_probe("me"), fail_probe("me", 1.0)):
        assert step(CLOSED, 14.0) == CLOSED


def test_whoever_gets_a_response_closes_the_breaker() -> None:
    assert close_breaker(_PROBED, 11.0) == close_breaker(_OPEN, 0.0) == CLOSED
    assert not CLOSED.is_open


def test_times_move_with_the_clock() -> None:
    assert _PROBED.moved(-10.0) == BreakerState(1, 0.0, "me", 5.0)


_STEPS = st.one_of(
    st.sampled_from([look, close_breaker]),
    st.builds(open_breaker, st.floats(0, 1)),
    st.builds(fail_probe, st.sampled_from("ab"), st.floats(0, 1)),
    st.builds(take_probe, st.sampled_from("ab")),
    st.builds(renew_probe, st.sampled_from("ab")),
    st.builds(leave_probe, st.sampled_from("ab")),
)


@given(st.lists(st.tuples(_STEPS, st.floats(0, 70)), max_size=40))
def test_no_order_of_steps_leaves_it_alone_for_ever_or_gives_two_the_turn(
    steps: list[tuple[BreakerStep, float]],
) -> None:
    state, now = CLOSED, 100.0
    for step, seconds in steps:
        now += seconds
        before = state
        state = step(state, now)
        assert step(state, now).is_open == state.is_open
        assert state.until <= now + 60.0
        assert state.probed_until <= now + PROBE_LEASE_SECONDS
        assert state == CLOSED or state.is_open, "what is over leaves nothing"
        if before.is_probed(now) and state.is_probed(now):
            assert state.prober == before.prober
    now += 60.0 + PROBE_LEASE_SECONDS
    assert not state.is_open or take_probe("c")(state, now).prober == "c"


class _Breakers:
    def change(self, _registry: str, step: BreakerStep, /) -> Sighting | None:
        return Sighting(step(CLOSED, 0.0), 0.0)


class _Store:
    breakers = _Breakers()


@pytest.mark.parametrize(("store", "breakers"), [(_Store(), _Store.breakers), (object(), None)])
def test_the_breakers_of_a_store_are_found(store: object, breakers: object) -> None:
    assert breakers_of(store) is breakers
