"""What a failed request means to a flow: the network's fault, ours, or a transport's mistake."""

from __future__ import annotations

import pytest

from ollama_push.core.errors import ConnectionLost, PushInterrupted, TransportMisbehaved
from ollama_push.core.responses import failed_request, own_error


def test_a_flow_is_sent_the_error_of_the_network() -> None:
    lost = ConnectionLost("http://h:1")
    assert failed_request(lost, object()) is lost


def test_other_errors_of_ours_are_raised() -> None:
    interrupted = PushInterrupted()
    assert own_error(interrupted, object()) is interrupted
    with pytest.raises(PushInterrupted) as caught:
        failed_request(interrupted, object())
    assert caught.value is interrupted


def test_what_a_transport_must_not_raise_is_its_mistake() -> None:
    raised = KeyError("x")
    with pytest.raises(TransportMisbehaved, match="object raised KeyError") as caught:
        failed_request(raised, object())
    assert caught.value.__cause__ is raised
