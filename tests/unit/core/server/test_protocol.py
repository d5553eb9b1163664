"""The state machine of a push's answer: its table, its order of calls, its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest
from tests.support.server_recordings import NDJSON

from ollama_push.core.errors import (
    LineTooLong,
    MachineMisuse,
    MalformedLine,
    OllamaPushError,
    PushRejected,
    ServerError,
    StreamTruncated,
    UnexpectedContent,
)
from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.server.protocol import TRANSITIONS, Head, PushProtocol, PushState
from ollama_push.core.server.sentinels import NEED_DATA, PUSH_OVER
from ollama_push.core.server.wire import ErrorLine

_JSON: Final = {"content-type": "application/json; charset=utf-8"}
_HTML: Final = {"content-type": "text/html"}

# What a head announces, and one line for each kind of event.
HEADS: Final = {
    Head.LINES: (200, NDJSON, True),
    Head.OBJECT: (200, _JSON, False),
    Head.REFUSAL: (500, _JSON, True),
    Head.FOREIGN: (200, _HTML, True),
}
LINES: Final = {
    StatusChanged: b'{"status":"a"}',
    LayerProgress: b'{"status":"p","digest":"d"}',
    PushSucceeded: b'{"status":"success"}',
    ErrorLine: b'{"error":"no"}',
}


def _machine(head: Head, max_line_bytes: int = 100) -> PushProtocol:
    status, headers, stream = HEADS[head]
    machine = PushProtocol(stream=stream, max_line_bytes=max_line_bytes)
    machine.receive_head(status, headers)
    return machine


def _events(machine: PushProtocol) -> Iterator[PushEvent]:
    while (event := machine.next_event()) is not NEED_DATA:
        if event is PUSH_OVER:
            return
        yield event


def test_a_new_machine_waits_for_the_head() -> None:
    machine = PushProtocol()
    assert machine.state is PushState.AWAITING_HEAD
    assert machine.next_event() is NEED_DATA
    assert machine.last_event is None


@pytest.mark.parametrize("head", Head)
def test_the_head_decides_how_the_body_is_read(head: Head) -> None:
    machine = _machine(head)
    assert machine.state is TRANSITIONS[PushState.AWAITING_HEAD, head]
    assert machine.next_event() is NEED_DATA


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("head", [Head.LINES, Head.OBJECT])
def test_every_kind_of_line_moves_the_machine_as_the_table_says(head: Head, kind: type) -> None:
    machine = _machine(head)
    before = machine.state
    machine.receive_data(LINES[kind] + b"\n")
    if head is Head.OBJECT:
        machine.receive_eof()
    if kind is ErrorLine:
        with pytest.raises(PushRejected, match="no"):
            machine.next_event()
    else:
        assert type(machine.next_event()) is kind
        assert type(machine.last_event) is kind
    assert machine.state is TRANSITIONS[before, kind]


def test_the_table_holds_nothing_that_is_not_tested_here() -> None:
    heads = {(PushState.AWAITING_HEAD, head) for head in HEADS}
    bodies = {(state, kind) for state in (PushState.STREAMING, PushState.SINGLE_OBJECT) for kind in LINES}
    assert set(TRANSITIONS) == heads | bodies


@pytest.mark.parametrize("data", [b"\x00\xff", b"nope\n" * 9, b"x" * 1000, b"", b'{"status":5}\n'])
@pytest.mark.parametrize("head", Head)
def test_storing_never_fails(head: Head, data: bytes) -> None:
    machine = _machine(head)
    state = machine.state
    machine.receive_data(data)
    machine.receive_data(data)
    machine.receive_eof()
    machine.receive_eof()
    assert machine.state is state


def test_events_before_a_bad_line_survive_it() -> None:
    machine = _machine(Head.LINES)
    machine.receive_data(b'{"status":"a"}\n{"status":"b"}\nnope\n{"status":"success"}\n')
    assert machine.next_event() == StatusChanged("a")
    assert machine.next_event() == StatusChanged("b")
    with pytest.raises(MalformedLine):
        machine.next_event()
    assert machine.last_event == StatusChanged("b")


Ending = tuple[Head, bytes, type[OllamaPushError], PushState]

ENDINGS: Final[tuple[Ending, ...]] = (
    (Head.LINES, b"nope\n", MalformedLine, PushState.BROKEN),
    (Head.LINES, b"x" * 101, LineTooLong, PushState.BROKEN),
    (Head.LINES, b'{"status":"a"}\n', StreamTruncated, PushState.BROKEN),
    (Head.LINES, b'{"error":"no"}\n', PushRejected, PushState.FAILED),
    (Head.OBJECT, b"", StreamTruncated, PushState.BROKEN),
    (Head.OBJECT, b" \r\n", StreamTruncated, PushState.BROKEN),
    (Head.OBJECT, b'{"status":"a"}', StreamTruncated, PushState.BROKEN),
    (Head.OBJECT, b'{"status":"a"}\n{"status":"success"}\n', MalformedLine, PushState.BROKEN),
    (Head.OBJECT, b"x" * 101, LineTooLong, PushState.BROKEN),
    (Head.OBJECT, b'{"error":"no"}', PushRejected, PushState.FAILED),
    (Head.REFUSAL, b"", ServerError, PushState.BROKEN),
    (Head.FOREIGN, b"<p>", UnexpectedContent, PushState.BROKEN),
)


@pytest.mark.parametrize(("head", "body", "verdict", "state"), ENDINGS)
def test_after_a_verdict_the_machine_is_of_no_use(
    head: Head, body: bytes, verdict: type[OllamaPushError], state: PushState
) -> None:
    machine = _machine(head)
    machine.receive_data(body)
    machine.receive_eof()
    with pytest.raises(verdict):
        list(_events(machine))
    assert machine.state is state
    for _ in range(2):
        with pytest.raises(MachineMisuse, match="this push is over"):
            machine.next_event()


@pytest.mark.parametrize("head", [Head.LINES, Head.OBJECT])
def test_success_is_the_end_whatever_follows(head: Head) -> None:
    machine = _machine(head)
    machine.receive_data(b'{"status":"success"}\n')
    if head is Head.LINES:
        machine.receive_data(b'nope\n{"error":"no"}\n' + b"x" * 1000)
    machine.receive_eof()
    assert list(_events(machine)) == [PushSucceeded()]
    assert machine.next_event() is PUSH_OVER
    assert machine.next_event() is PUSH_OVER
    assert machine.state is PushState.SUCCEEDED


@pytest.mark.parametrize(
    "call",
    [lambda machine: machine.receive_data(b""), lambda machine: machine.receive_eof()],
    ids=["receive_data", "receive_eof"],
)
def test_a_body_before_the_head_is_misuse(call: Callable[[PushProtocol], None]) -> None:
    with pytest.raises(MachineMisuse, match="before receive_head"):
        call(PushProtocol())


def test_two_heads_are_misuse() -> None:
    with pytest.raises(MachineMisuse, match="twice"):
        _machine(Head.LINES).receive_head(200, NDJSON)


def test_data_after_the_end_is_misuse() -> None:
    machine = _machine(Head.LINES)
    machine.receive_eof()
    with pytest.raises(MachineMisuse, match="after receive_eof"):
        machine.receive_data(b"x")


def test_a_broken_body_of_a_push_has_no_verdict_of_its_own() -> None:
    for head in (Head.LINES, Head.OBJECT):
        machine = _machine(head)
        machine.receive_data(b'{"status":"a"}\n')
        assert machine.verdict_without_the_rest() is None
    assert PushProtocol().verdict_without_the_rest() is None


@pytest.mark.parametrize(("head", "verdict"), [(Head.REFUSAL, ServerError), (Head.FOREIGN, UnexpectedContent)])
def test_a_broken_body_of_a_refusal_is_the_refusal(head: Head, verdict: type[OllamaPushError]) -> None:
    machine = _machine(head)
    machine.receive_data(b"half a p")
    error = machine.verdict_without_the_rest()
    assert type(error) is verdict
    assert "half a p" in str(error)
    assert machine.state is PushState.BROKEN
    assert machine.verdict_without_the_rest() is None


def test_a_stream_that_is_read_in_one_step_remembers_its_last_event_too() -> None:
    machine = PushProtocol()
    machine.receive_head(200, NDJSON)
    machine.receive_data(b'{"status":"a"}\n{"status":"b"}\n')
    assert machine.next_events() == [StatusChanged("a"), StatusChanged("b")]
    assert machine.last_event == StatusChanged("b")
    machine.receive_eof()
    with pytest.raises(StreamTruncated, match="after 'b'"):
        machine.next_event()


def test_a_step_that_leaves_half_a_line_says_that_more_is_needed_only_when_all_was_read() -> None:
    machine = PushProtocol()
    machine.receive_head(200, NDJSON)
    machine.receive_data(b'{"status":"a"}\n')
    machine.next_events()
    assert machine.idle
    machine.receive_data(b'{"status":"b"}\n{"sta')
    machine.next_events()
    assert not machine.idle
