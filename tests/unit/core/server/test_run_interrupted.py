"""A push that is interrupted ends with that, unless the server has had the last word."""

from __future__ import annotations

import pytest
from tests.support.push_run import Driven, tick
from tests.support.server_recordings import NDJSON

from ollama_push.core.errors import (
    ConnectionLost,
    OllamaPushError,
    PushInterrupted,
    PushRejected,
    PushStalled,
    ServerError,
    TransportTimeout,
    UsedAfterClose,
)
from ollama_push.core.events import PushSucceeded
from ollama_push.core.observations import AttemptStarted, PushFinished, PushOutcome, PushStarted

ADDRESS = "http://h:1"


def cancelled(driven: Driven, exc: Exception) -> OllamaPushError:
    """Fail the attempt by *exc*; the push must be told as cancelled."""
    error = driven.verdict(exc)
    finished = driven.seen[-1]
    assert isinstance(finished, PushFinished)
    assert (finished.outcome, finished.error) == (PushOutcome.CANCELLED, error)
    return error


def test_before_its_first_attempt_nothing_is_sent() -> None:
    driven = Driven()
    driven.run.interrupt()
    with pytest.raises(PushInterrupted) as caught:
        driven.run.begin_attempt()
    error = cancelled(driven, caught.value)
    assert error.attempts == 0
    assert str(error) == "interrupted; push again to resume"
    assert isinstance(driven.seen[0], PushStarted)
    assert not any(isinstance(one, AttemptStarted) for one in driven.seen)


def test_between_two_attempts_there_is_no_other() -> None:
    driven = Driven()
    driven.begin()
    assert driven.run.attempt_failed(ConnectionLost(ADDRESS)) > 0
    driven.run.interrupt()
    with pytest.raises(PushInterrupted) as caught:
        driven.run.begin_attempt()
    assert cancelled(driven, caught.value).attempts == 1


def test_in_the_stream_the_events_that_arrived_come_first() -> None:
    driven = Driven()
    driven.begin()
    driven.run.interrupt()
    events = driven.run.receive_data(tick(1) + tick(2))
    assert [next(events), next(events)]
    with pytest.raises(PushInterrupted) as caught:
        next(events)
    cancelled(driven, caught.value)


@pytest.mark.parametrize(
    "lost", [ConnectionLost(ADDRESS), TransportTimeout(ADDRESS, "read", 1.0), UsedAfterClose("Mine")], ids=repr
)
def test_what_the_transport_made_of_it_is_its_cause(lost: OllamaPushError) -> None:
    driven = Driven()
    driven.begin()
    driven.run.interrupt()
    error = cancelled(driven, lost)
    assert type(error) is PushInterrupted
    assert error.__cause__ is lost


def test_a_verdict_that_has_arrived_stands() -> None:
    driven = Driven()
    driven.begin()
    driven.run.interrupt()
    assert isinstance(driven.feed(b'{"status":"success"}\n')[0], PushSucceeded)

    driven = Driven()
    driven.begin()
    driven.run.interrupt()
    with pytest.raises(PushRejected) as caught:
        driven.feed(b'{"error":"no"}\n')
    assert type(driven.verdict(caught.value)) is PushRejected

    driven = Driven()
    driven.begin(401, {})
    driven.run.interrupt()
    assert type(driven.verdict(ConnectionLost(ADDRESS))) is ServerError


@pytest.mark.parametrize(
    ("status", "headers"), [("200", {}), (None, {}), (200, ["a"]), (200, {"a": 5}), (200, {5: "a"}), (200, None)]
)
def test_a_head_that_is_none_is_refused(status: object, headers: object) -> None:
    driven = Driven()
    driven.run.begin_attempt()
    with pytest.raises((TypeError, AttributeError)):
        driven.run.receive_head(status, headers)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["text", 5, None])
def test_a_chunk_that_is_none_is_refused(data: object) -> None:
    driven = Driven()
    driven.begin()
    with pytest.raises(TypeError, match="a chunk is bytes, and no"):
        driven.run.receive_data(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["before the head", "in the stream"])
def test_a_process_that_was_stopped_finds_no_stall_in_what_came_meanwhile(where: str) -> None:
    driven = Driven(stall_timeout=60.0, read_timeout=60.0)
    driven.run.begin_attempt()
    if where == "before the head":
        driven.clock.now += 100.0
    driven.run.receive_head(200, NDJSON)
    driven.feed(tick(1))
    if where == "in the stream":
        driven.clock.now += 100.0
    assert driven.feed(tick(1)) != []
    # From now on it counts.
    for _ in range(2):
        driven.clock.now += 29.0
        driven.feed(tick(1))
    driven.clock.now += 29.0
    with pytest.raises(PushStalled):
        driven.feed(tick(1))


def test_a_longer_wait_than_that_of_the_transport_is_forgiven_once() -> None:
    driven = Driven(stall_timeout=30.0, read_timeout=60.0)
    driven.begin()
    driven.feed(tick(1))
    driven.clock.now += 50.0
    with pytest.raises(PushStalled):
        driven.feed(tick(1))
