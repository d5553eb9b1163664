"""What the strategies draw is what they say: the machine reads from the bytes what the answer tells of itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from ollama_push.core.errors import PushRejected, StreamTruncated
from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.server.protocol import PushProtocol
from ollama_push.core.server.sentinels import NEED_DATA, PUSH_OVER
from ollama_push.core.server.wire import LineDecoder
from ollama_push.testing.strategies import (
    PushAnswer,
    cuttings,
    digests,
    event_lines,
    events,
    push_answers,
    status_changes,
)

_repeatable = settings(deadline=None, derandomize=True, max_examples=80, database=None)


@_repeatable
@given(st.data())
def test_a_line_says_its_event(data: st.DataObject) -> None:
    event = data.draw(events() | st.just(PushSucceeded()))
    line = data.draw(event_lines(event))
    assert b"\n" not in line
    assert LineDecoder().decode(line) == event


def _read(machine: PushProtocol, into: list[PushEvent]) -> bool:
    while (event := machine.next_event()) is not NEED_DATA:
        if event is PUSH_OVER:
            return True
        into.append(event)
    return False


@_repeatable
@given(st.data())
def test_an_answer_says_its_events_and_ends_as_told_however_it_is_cut(data: st.DataObject) -> None:
    answer = data.draw(push_answers())
    machine, seen = PushProtocol(), list[PushEvent]()
    machine.receive_head(answer.status, answer.headers)

    def read_all() -> bool:
        for piece in data.draw(cuttings(answer.body)):
            machine.receive_data(piece)
            if _read(machine, seen):
                return True
        machine.receive_eof()
        return _read(machine, seen)

    if answer.succeeded:
        assert read_all()
    elif answer.error is not None:
        with pytest.raises(PushRejected):
            read_all()
    else:
        with pytest.raises(StreamTruncated):
            read_all()
    assert tuple(seen) == answer.events


@_repeatable
@given(st.data())
def test_pieces_add_up_and_none_is_empty(data: st.DataObject) -> None:
    whole = data.draw(st.binary(max_size=50))
    pieces = data.draw(cuttings(whole))
    assert b"".join(pieces) == whole
    assert all(pieces)


@_repeatable
@given(digests())
def test_digests_are_those_of_layers(digest: str) -> None:
    assert digest == "sha256:model" or (len(digest) == 71 and int(digest.removeprefix("sha256:"), 16) >= 0)


_WANTED: dict[str, Callable[[PushAnswer], bool]] = {
    "succeeds": lambda answer: answer.succeeded and len(answer.events) > 1,
    "is refused": lambda answer: answer.error is not None,
    "is truncated": lambda answer: answer.error is None and not answer.succeeded and len(answer.events) > 0,
    "lacks the last newline": lambda answer: len(answer.body) > 0 and not answer.body.endswith(b"\n"),
    "has Windows line ends": lambda answer: b"\r\n" in answer.body,
    "tells a phase": lambda answer: any(isinstance(event, StatusChanged) for event in answer.events),
    "counts past the total": lambda answer: any(
        isinstance(event, LayerProgress) and event.completed > event.total for event in answer.events
    ),
}


# Finding is the point; the smallest one found is not.
_search = settings(_repeatable, max_examples=2000, phases=[Phase.generate])


@pytest.mark.slow
@pytest.mark.parametrize("kind", _WANTED)
def test_answers_of_every_kind_are_drawn(kind: str) -> None:
    assert _WANTED[kind](find(push_answers(), _WANTED[kind], settings=_search))


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\n", '"', "\\"])
def test_texts_hold_what_trips_parsers(mark: str) -> None:
    def holds(event: StatusChanged) -> bool:
        return mark in event.status

    assert holds(find(status_changes(), holds, settings=_search))
