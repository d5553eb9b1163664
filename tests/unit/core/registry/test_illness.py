"""What is known of an ill registry: each step from one value to the next, in any order and by anybody."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.registry.illness import (
    TRY_LEASE_SECONDS,
    WELL,
    Illness,
    IllnessStep,
    Sighting,
    board_of,
    fail_try,
    fall_ill,
    get_well,
    leave_try,
    look,
    renew_try,
    take_try,
)

_ILL = Illness(1, 10.0)
_TRIED = Illness(1, 10.0, "me", 15.0)


def test_the_first_pause_is_of_a_second_shortened_at_random() -> None:
    assert [fall_ill(random)(WELL, 7.0) for random in (0.0, 0.5, 1.0)] == [
        Illness(1, 7.5),
        Illness(1, 7.75),
        Illness(1, 8.0),
    ]


def test_who_finds_it_ill_later_does_not_prolong_the_pause() -> None:
    assert fall_ill(1.0)(_ILL, 9.0) == _ILL
    assert fall_ill(1.0)(_TRIED, 12.0) == _TRIED


def test_pauses_double_up_to_a_minute() -> None:
    illness, pauses = fall_ill(1.0)(WELL, 0.0), []
    for _ in range(9):
        begun = illness.until
        illness = fail_try("me", 1.0)(take_try("me")(illness, begun), begun)
        pauses.append(illness.until - begun)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert fail_try("me", 1.0)(attrs.evolve(_TRIED, pauses=10**6), 0.0).until == 60.0


def test_one_may_try_after_the_pause() -> None:
    assert take_try("me")(WELL, 0.0) == WELL
    assert take_try("me")(_ILL, 9.9) == _ILL
    assert take_try("me")(_ILL, 10.0) == _TRIED
    assert _TRIED.is_tried(14.9)
    assert not _TRIED.is_tried(15.0)
    assert not _ILL.is_tried(10.0)
    assert take_try("other")(_TRIED, 14.9) == _TRIED
    assert take_try("other")(_TRIED, 15.0) == Illness(1, 10.0, "other", 20.0), "its holder has died"
    assert take_try("me")(_TRIED, 12.0) == Illness(1, 10.0, "me", 17.0)


def test_only_who_has_the_turn_changes_it() -> None:
    assert renew_try("me")(_TRIED, 14.0).tries_until == 14.0 + TRY_LEASE_SECONDS
    assert leave_try("me")(_TRIED, 14.0) == _ILL
    assert fail_try("me", 0.0)(_TRIED, 14.0) == Illness(2, 15.0)
    for step in (renew_try("other"), leave_try("other"), fail_try("other", 1.0), look):
        assert step(_TRIED, 14.0) == _TRIED
    for step in (renew_try("me"), leave_try("me"), fail_try("me", 1.0)):
        assert step(WELL, 14.0) == WELL


def test_whoever_gets_a_response_ends_the_illness() -> None:
    assert get_well(_TRIED, 11.0) == get_well(_ILL, 0.0) == WELL
    assert not WELL.is_ill


def test_times_move_with_the_clock() -> None:
    assert _TRIED.moved(-10.0) == Illness(1, 0.0, "me", 5.0)


_STEPS = st.one_of(
    st.sampled_from([look, get_well]),
    st.builds(fall_ill, st.floats(0, 1)),
    st.builds(fail_try, st.sampled_from("ab"), st.floats(0, 1)),
    st.builds(take_try, st.sampled_from("ab")),
    st.builds(renew_try, st.sampled_from("ab")),
    st.builds(leave_try, st.sampled_from("ab")),
)


@given(st.lists(st.tuples(_STEPS, st.floats(0, 70)), max_size=40))
def test_no_order_of_steps_leaves_it_alone_for_ever_or_gives_two_the_turn(
    steps: list[tuple[IllnessStep, float]],
) -> None:
    illness, now = WELL, 100.0
    for step, seconds in steps:
        now += seconds
        before = illness
        illness = step(illness, now)
        assert step(illness, now).is_ill == illness.is_ill
        assert illness.until <= now + 60.0
        assert illness.tries_until <= now + TRY_LEASE_SECONDS
        assert illness == WELL or illness.is_ill, "what is over leaves nothing"
        if before.is_tried(now) and illness.is_tried(now):
            assert illness.trier == before.trier
    now += 60.0 + TRY_LEASE_SECONDS
    assert not illness.is_ill or take_try("c")(illness, now).trier == "c"


class _Board:
    def change(self, _registry: str, step: IllnessStep, /) -> Sighting | None:
        return Sighting(step(WELL, 0.0), 0.0)


class _Store:
    illness = _Board()


@pytest.mark.parametrize(("store", "board"), [(_Store(), _Store.illness), (object(), None)])
def test_the_board_of_a_store_is_found(store: object, board: object) -> None:
    assert board_of(store) is board
