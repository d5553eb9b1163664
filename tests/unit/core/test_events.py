"""Events are values: equal by content, unchangeable, with a share that stays within bounds."""

from __future__ import annotations

import attrs
import pytest

from ollama_push.core.events import SUCCESS_STATUS, LayerProgress, PushEvent, PushPlanned, PushSucceeded, StatusChanged


@pytest.mark.parametrize(
    ("total", "completed", "share"),
    [(0, 0, 1.0), (0, 5, 1.0), (4, 0, 0.0), (4, 1, 0.25), (4, 4, 1.0), (4, 5, 1.0), (2**60, 2**59, 0.5)],
)
def test_share_of_a_layer(total: int, completed: int, share: float) -> None:
    assert LayerProgress("sha256:ab", total, completed).fraction == share


def test_absent_counters_are_zero() -> None:
    assert LayerProgress("sha256:ab") == LayerProgress("sha256:ab", 0, 0, "")


def test_success_says_success() -> None:
    assert PushSucceeded().status == SUCCESS_STATUS == "success"


def test_kinds_with_the_same_text_differ() -> None:
    assert len({StatusChanged(SUCCESS_STATUS), PushSucceeded()}) == 2


def test_a_plan_is_worded_as_a_server_begins() -> None:
    assert PushPlanned(7).status == "retrieving manifest"
    assert len({StatusChanged("retrieving manifest"), PushPlanned(7), PushPlanned(8)}) == 3


@pytest.mark.parametrize("event", [StatusChanged("a"), LayerProgress("sha256:ab"), PushSucceeded(), PushPlanned(1)])
def test_cannot_be_changed(event: PushEvent) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.status = "other"  # type: ignore[misc]  # the point of the test
    assert hash(event) == hash(attrs.evolve(event))
