"""What hooks see: frozen facts that share the identity of their push."""

from __future__ import annotations

from typing import get_args

import attrs
import pytest

from ollama_push.core.errors import ConnectionLost, PushRejected
from ollama_push.core.events import StatusChanged
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

_PUSH = PushContext("a/b:latest", "http://127.0.0.1:11434")

ALL: tuple[Observation, ...] = (
    PushStarted(_PUSH, 0.0),
    AttemptStarted(_PUSH, 0.0, 1),
    EventSeen(_PUSH, 0.5, StatusChanged("x")),
    RolledBack(_PUSH, 0.6, "sha256:ab", 7),
    RequestRetried(_PUSH, 0.6, ConnectionLost("http://h"), 1.0),
    RequestPaused(_PUSH, 0.6, PauseReason.RATE, 0.1),
    AttemptFailed(_PUSH, 0.7, 1, PushRejected("no"), None),
    PushFinished(_PUSH, 0.8, PushOutcome.CANCELLED),
)


def test_two_pushes_of_one_model_are_told_apart() -> None:
    twin = PushContext(_PUSH.model, _PUSH.target)
    assert twin != _PUSH
    assert {twin: 1, _PUSH: 2}[_PUSH] == 2


@pytest.mark.parametrize("seen", ALL, ids=lambda seen: type(seen).__name__)
def test_every_kind_is_frozen_and_carries_push_and_time(seen: Observation) -> None:
    assert seen.push is _PUSH
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        seen.elapsed = 1.0  # type: ignore[misc]  # the point of the test


def test_trace_headers_are_for_one_attempt_and_no_part_of_its_identity() -> None:
    first, second = AttemptStarted(_PUSH, 0.0, 1), AttemptStarted(_PUSH, 0.0, 1)
    first.trace_headers["traceparent"] = "00-1"
    assert second.trace_headers == {}
    assert first == second


def test_a_cancelled_push_has_neither_receipt_nor_error() -> None:
    finished = PushFinished(_PUSH, 0.8, PushOutcome.CANCELLED)
    assert (finished.receipt, finished.error) == (None, None)


def test_every_kind_is_shown_to_work() -> None:
    assert {type(seen) for seen in ALL} == set(get_args(Observation))
