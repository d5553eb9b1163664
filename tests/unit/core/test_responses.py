"""What a failed request means to a flow: the network's fault, ours, or a transport's mistake."""

from __future__ import annotations

import math

import pytest

from ollama_push.core.errors import ConnectionLost, PushInterrupted, TransportMisbehaved
from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import (
    MAX_RESPONSE_BYTES,
    BufferedResponse,
    failed_request,
    is_unread,
    own_error,
    response_late,
    response_limit,
    response_seconds,
)


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


@pytest.mark.parametrize(
    ("silence", "seconds"), [(1.0, 5.0), (10.0, 50.0), (60.0, 60.0), (900.0, 60.0), (math.inf, 60.0), (None, 60.0)]
)
def test_a_whole_response_has_a_limited_time(silence: float | None, seconds: float) -> None:
    assert response_seconds(HttpRequest("GET", "http://h/", read_timeout=silence)) == seconds


def test_a_response_that_is_late_says_how_long_was_waited() -> None:
    error = response_late(HttpRequest("GET", "http://user:secret@h:1/v2/", read_timeout=1.0))
    assert str(error) == "http://h:1 did not complete its response within 5 s"


@pytest.mark.parametrize(
    ("given", "unread"),
    [
        (ConnectionLost("http://h:1", unread=True), True),
        (ConnectionLost("http://h:1"), False),
        (BufferedResponse(200, {}, b""), False),
    ],
)
def test_only_a_dead_connection_leaves_a_request_unread(given: object, unread: bool) -> None:  # noqa: FBT001 - a column
    assert is_unread(given) is unread


def test_of_a_range_one_byte_is_read() -> None:
    assert response_limit(HttpRequest("GET", "https://reg.test/b", {"Range": "bytes=0-0"})) == 1
    assert response_limit(HttpRequest("GET", "https://reg.test/b")) == MAX_RESPONSE_BYTES
