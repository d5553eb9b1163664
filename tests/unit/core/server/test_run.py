"""One push from first attempt to verdict: receipts, retries, stalls and what an error carries."""

from __future__ import annotations

import math
import pickle

import pytest
from tests.support.push_run import PUSH, Driven, tick

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    MachineMisuse,
    MalformedLine,
    OllamaPushError,
    PushRejected,
    PushStalled,
    ServerError,
    StreamTruncated,
    TransportMisbehaved,
    UnexpectedContent,
)
from ollama_push.core.events import MAX_LAYERS, LayerProgress, PushSucceeded, StatusChanged
from ollama_push.core.progress import PushProgress
from ollama_push.core.receipts import LayerReceipt, PushReceipt
from ollama_push.core.retry import RetryPolicy

_OK = b'{"status":"success"}\n'
_LOST = ConnectionLost("http://h:1")


def test_a_push_that_succeeds_leaves_a_receipt() -> None:
    driven = Driven()
    assert driven.run.context is PUSH
    driven.begin()
    driven.clock.now += 2.0
    events = driven.feed(b'{"status":"a"}\n' + tick(50) + tick(7, 7, "sha256:b") + tick(100) + _OK)
    assert events[0] == StatusChanged("a")
    assert events[-1] == PushSucceeded()
    assert driven.run.over
    layers = (LayerReceipt("sha256:a", 100), LayerReceipt("sha256:b", 7))
    assert driven.run.result() == PushReceipt(PUSH.model, layers, 107, 1, 2.0)
    assert driven.end() == []


def test_a_push_that_is_not_streamed_leaves_a_receipt_without_layers() -> None:
    driven = Driven(stream=False)
    driven.begin(200, {"content-type": "application/json"})
    assert driven.feed(b'{"status":"success"}') == []
    assert driven.end() == [PushSucceeded()]
    receipt = driven.run.result()
    assert (receipt.layers, receipt.total_bytes) == ((), None)


def test_there_is_no_receipt_before_the_end() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(b'{"status":"a"}\n')
    assert not driven.run.over
    with pytest.raises(MachineMisuse, match="result"):
        driven.run.result()


def test_events_before_a_verdict_are_yielded_first() -> None:
    driven = Driven()
    driven.begin()
    events = driven.run.receive_data(b'{"status":"a"}\nnope\n')
    assert next(events) == StatusChanged("a")
    with pytest.raises(MalformedLine):
        next(events)


def test_an_end_without_a_verdict_is_no_success() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(tick(100))
    with pytest.raises(StreamTruncated):
        driven.end()
    assert not driven.run.over


def test_a_last_line_without_its_end_is_an_event_before_the_verdict() -> None:
    driven = Driven()
    driven.begin()
    assert driven.feed(b'{"status":"a"}') == []
    events = driven.run.receive_eof()
    assert next(events) == StatusChanged("a")
    with pytest.raises(StreamTruncated):
        next(events)


def test_a_second_attempt_starts_a_new_answer() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(tick(60) + tick(5, 5, "sha256:old"))
    assert driven.run.attempt_failed(_LOST) == 1.0
    driven.clock.now += 1.0
    driven.begin()
    driven.feed(tick(100) + _OK)
    receipt = driven.run.result()
    assert (receipt.attempts, receipt.retries, receipt.elapsed_seconds, receipt.total_bytes) == (2, 1, 1.0, 100)
    assert driven.run.begin_attempt() is driven.request


def test_the_wait_is_the_policys_with_the_chance_drawn_now() -> None:
    chances = iter([0.0, 1.0])
    driven = Driven(retry=RetryPolicy(base=4.0), random=lambda: next(chances))
    driven.begin()
    assert driven.run.attempt_failed(_LOST) == 2.0
    driven.begin()
    assert driven.run.attempt_failed(_LOST) == 8.0


def test_the_last_attempts_error_is_the_verdict() -> None:
    driven = Driven(retry=RetryPolicy(attempts=2))
    driven.begin()
    driven.run.attempt_failed(_LOST)
    driven.begin()
    last = ConnectionLost("http://h:1", "again")
    assert driven.verdict(last) is last
    assert last.attempts == 2


def test_a_request_that_nobody_has_read_is_sent_again_at_once_and_not_counted() -> None:
    driven = Driven(retry=RetryPolicy(attempts=2))
    unread = ConnectionLost("http://h:1", unread=True)
    driven.run.begin_attempt()
    assert driven.run.attempt_failed(unread) == 0.0
    assert driven.run.begin_attempt().fresh
    assert driven.run.attempt_failed(unread) == 1.0
    assert driven.run.begin_attempt().fresh
    assert driven.verdict(unread) is unread
    assert unread.attempts == 3


def test_a_server_that_was_reached_once_may_be_away_for_a_while() -> None:
    driven = Driven()
    driven.run.begin_attempt()
    refused = ConnectFailed("http://h:1", ConnectCause.REFUSED)
    assert driven.verdict(refused) is refused
    driven = Driven()
    driven.begin()
    driven.run.attempt_failed(_LOST)
    driven.run.begin_attempt()
    assert driven.run.attempt_failed(ConnectFailed("http://h:1", ConnectCause.REFUSED)) == 2.0


def test_an_error_carries_what_was_known() -> None:
    driven = Driven()
    driven.begin()
    with pytest.raises(PushRejected) as caught:
        driven.feed(tick(60) + tick(5, 5, "sha256:b") + tick(40) + b'{"error":"unauthorized"}\n')
    error = driven.verdict(caught.value)
    assert error is caught.value
    assert error.last_event == LayerProgress("sha256:a", 100, 40, "p")
    assert (error.attempts, error.bytes_moved) == (1, 60)


def test_an_error_before_any_answer_knows_of_nothing() -> None:
    driven = Driven()
    driven.run.begin_attempt()
    error = driven.verdict(ConnectFailed("http://h:1"))
    assert (error.last_event, error.attempts, error.bytes_moved) == (None, 1, 0)


def test_bytes_of_an_earlier_attempt_count_once() -> None:
    driven = Driven(retry=RetryPolicy(attempts=2))
    driven.begin()
    driven.feed(tick(60))
    driven.run.attempt_failed(_LOST)
    driven.begin()
    driven.feed(tick(70) + tick(5, 5, "sha256:b"))
    error = driven.verdict(ConnectionLost("http://h:1"))
    assert error.bytes_moved == 70
    assert error.last_event == LayerProgress("sha256:b", 5, 5, "p")


@pytest.mark.parametrize(
    "lines",
    [
        tick(100),
        tick(60) + tick(40) + tick(70),
        tick(60) + tick(5, 5, "sha256:b") + tick(7, 0) + tick(120),
        tick(0, 0) + tick(3) + tick(100),
    ],
    ids=["present", "rolled back", "of odd sizes", "empty at first"],
)
def test_an_error_and_the_progress_count_the_same_bytes(lines: bytes) -> None:
    driven, progress = Driven(), PushProgress()
    for first in (True, False):
        driven.begin()
        for event in driven.feed(lines):
            progress.receive_event(event, 0.0)
        if first:
            driven.run.attempt_failed(_LOST)
            progress.restart()
    lost = ConnectionLost("http://h:1")
    driven.run.attempt_failed(lost)
    assert lost.bytes_moved == progress.moved_bytes


_UNREACHABLE = b'{"error":"dial tcp 10.0.0.1:443: connect: connection refused"}\n'


def test_a_registry_lost_after_bytes_moved_is_tried_again() -> None:
    driven = Driven()
    driven.begin()
    with pytest.raises(PushRejected) as caught:
        driven.feed(tick(0) + tick(1) + _UNREACHABLE)
    assert driven.run.attempt_failed(caught.value) == 1.0


def test_layers_that_were_present_do_not_make_a_wrong_address_an_outage() -> None:
    driven = Driven()
    driven.begin()
    with pytest.raises(PushRejected) as caught:
        driven.feed(tick(100) + tick(0, 50, "sha256:b") + _UNREACHABLE)
    assert driven.verdict(caught.value).bytes_moved == 0


@pytest.mark.parametrize("raised", [KeyError("x"), ValueError("Bearer hush12345"), OSError(5, "io")], ids=repr)
def test_what_a_transport_may_not_raise_is_its_misbehaviour(raised: Exception) -> None:
    driven = Driven()
    driven.begin()
    error = driven.verdict(raised)
    assert type(error) is TransportMisbehaved
    assert error.transport == "Mine"
    assert error.__cause__ is raised
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [(500, {}, ServerError), (200, {"content-type": "text/html"}, UnexpectedContent)],
)
@pytest.mark.parametrize("broken", [_LOST, PushStalled(9.0)], ids=repr)
def test_a_refusal_whose_body_breaks_is_still_a_refusal(
    status: int, headers: dict[str, str], verdict: type[OllamaPushError], broken: OllamaPushError
) -> None:
    driven = Driven(retry=RetryPolicy(attempts=1))
    driven.begin(status, headers)
    assert driven.feed(b"unauth") == []
    error = driven.verdict(broken)
    assert type(error) is verdict
    assert "unauth" in str(error)
    assert error.__cause__ is broken


def test_an_answer_that_breaks_is_no_refusal() -> None:
    driven = Driven(retry=RetryPolicy(attempts=1))
    driven.begin()
    driven.feed(tick(1))
    lost = ConnectionLost("http://h:1")
    assert driven.verdict(lost) is lost


def test_lines_without_bytes_are_a_stall() -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    driven.feed(tick(50))
    for _ in range(6):
        driven.clock.now += 10.0
        driven.feed(tick(50))
    driven.clock.now += 0.5
    with pytest.raises(PushStalled) as caught:
        driven.feed(tick(50))
    assert caught.value.seconds == 60.5


def test_more_of_a_layer_than_ever_ends_a_stall() -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    driven.feed(tick(50))
    driven.clock.now += 60.0
    driven.feed(tick(51))
    driven.clock.now += 60.0
    driven.feed(tick(51))
    driven.clock.now += 0.5
    with pytest.raises(PushStalled):
        driven.feed(tick(51))


@pytest.mark.parametrize(
    "busy",
    [
        (tick(49), tick(50)),
        (tick(50, 101), tick(50, 102), tick(50, 103)),
        tuple(tick(number, number) for number in range(120, 200)),
        tuple(tick(number, 9, f"sha256:{number}") for number in range(80)),
        (b'{"status":"one"}\n', b'{"status":"other"}\n'),
    ],
    ids=["up and down", "the total grows", "the layer grows", "ever new layers", "statuses take turns"],
)
def test_nothing_else_ends_a_stall(busy: tuple[bytes, ...]) -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    driven.feed(tick(100))
    for number in range(60):
        driven.clock.now += 1.0
        driven.feed(busy[number % len(busy)])
    driven.clock.now += 1.0
    with pytest.raises(PushStalled) as caught:
        driven.feed(busy[60 % len(busy)])
    assert caught.value.seconds == 61.0


def test_bytes_that_a_new_attempt_sends_again_are_no_stall() -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    driven.feed(tick(100))
    driven.run.attempt_failed(_LOST)
    driven.begin()
    for completed in (0, 30, 60):
        driven.feed(tick(completed))
        driven.clock.now += 50.0
    assert driven.feed(tick(90)) == [LayerProgress("sha256:a", 100, 90, "p")]


def test_of_more_layers_than_a_model_has_the_first_are_remembered() -> None:
    driven = Driven()
    driven.begin()
    driven.feed(b"".join(tick(1, 1, f"sha256:{number}") for number in range(MAX_LAYERS + 5)) + _OK)
    assert len(driven.run.result().layers) == MAX_LAYERS


def test_an_error_does_not_quote_what_the_request_held() -> None:
    driven = Driven(retry=RetryPolicy(attempts=1), headers={"Authorization": "Bearer 5up3r-53cr3t"})
    driven.begin()
    [event] = driven.feed(b'{"status":"you sent 5up3r-53cr3t"}\n')
    assert event == StatusChanged("you sent <hidden>")
    cause = ConnectionError("no status line: 5up3r-53cr3t")
    error = ConnectionLost("http://h:1", "no status line: 5up3r-53cr3t")
    error.__cause__ = cause
    verdict = driven.verdict(error)
    assert "5up3r" not in f"{verdict} {verdict!r} {cause!r} {pickle.dumps(verdict)!r}"


def test_layers_that_take_turns_without_moving_are_a_stall() -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    both = tick(50) + tick(7, 9, "sha256:b")
    driven.feed(both)
    driven.clock.now += 61.0
    with pytest.raises(PushStalled):
        driven.feed(both)


def test_success_after_a_long_silence_is_success() -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    driven.clock.now += 1000.0
    assert driven.feed(_OK) == [PushSucceeded()]


def test_what_the_consumer_does_takes_nobodys_time() -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    for event in driven.run.receive_data(tick(50) + b"\n"):
        assert isinstance(event, LayerProgress)
        driven.clock.now += 1000.0
    driven.clock.now += 60.0
    driven.feed(tick(50))
    driven.clock.now += 0.5
    with pytest.raises(PushStalled):
        driven.feed(tick(50))


def test_waiting_between_attempts_is_no_stall() -> None:
    driven = Driven(stall_timeout=60.0)
    driven.begin()
    driven.feed(tick(50))
    driven.run.attempt_failed(_LOST)
    driven.clock.now += 1000.0
    driven.begin()
    assert driven.feed(tick(50)) == [LayerProgress("sha256:a", 100, 50, "p")]


def test_an_endless_timeout_never_stalls() -> None:
    driven = Driven(stall_timeout=math.inf)
    driven.begin()
    for _ in range(3):
        driven.clock.now += 1e9
        driven.feed(tick(50))


@pytest.mark.parametrize("stall_timeout", [60.0, math.inf])
def test_the_body_of_an_error_has_a_minute_from_its_head_on(stall_timeout: float) -> None:
    driven = Driven(stall_timeout=stall_timeout, retry=RetryPolicy(attempts=1))
    driven.run.begin_attempt()
    driven.clock.now += 59.0
    driven.run.receive_head(500, {})
    for _ in range(6):
        driven.clock.now += 10.0
        driven.feed(b"x")
    driven.clock.now += 0.5
    with pytest.raises(PushStalled) as caught:
        driven.feed(b"y")
    verdict = driven.verdict(caught.value)
    assert isinstance(verdict, ServerError)
    assert (verdict.status, verdict.words) == (500, "xxxxxxy")


def test_a_response_that_is_no_stream_may_come_late_but_not_in_drips() -> None:
    driven = Driven(stream=False)
    driven.run.begin_attempt()
    driven.clock.now += 3600.0
    driven.run.receive_head(200, {"content-type": "application/json"})
    driven.clock.now += 60.0
    assert driven.feed(b'{"status":') == []
    driven.clock.now += 0.5
    with pytest.raises(PushStalled):
        driven.feed(b'"')


def test_a_stall_is_tried_again() -> None:
    driven = Driven()
    driven.begin()
    driven.clock.now += 61.0
    with pytest.raises(PushStalled) as caught:
        driven.feed(b"\n")
    assert driven.run.attempt_failed(caught.value) == 1.0
