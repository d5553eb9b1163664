"""However the bytes are cut, the same events and the same verdict come out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.server_recordings import NDJSON, RecordedAnswer, cut_at, read_answer, recorded_answers
from tests.support.strategies import bodies, cuts, damaged_bodies

from ollama_push.core.server.ndjson import LineBuffer
from ollama_push.core.server.sentinels import NEED_DATA

pytestmark = pytest.mark.slow

_SHORT = [recorded for recorded in recorded_answers() if len(recorded.body) < 20_000]


@pytest.mark.parametrize("recorded", _SHORT, ids=lambda recorded: recorded.name)
@settings(max_examples=15)
@given(places=cuts)
def test_of_a_recording(recorded: RecordedAnswer, places: list[int]) -> None:
    def read(pieces: list[bytes]) -> object:
        return read_answer(pieces, recorded.status, recorded.headers, stream=recorded.streamed)

    assert read(cut_at(recorded.body, places)) == read([recorded.body])


@given(
    body=bodies | damaged_bodies(),
    places=cuts,
    head=st.sampled_from(
        [
            (200, NDJSON, True),
            (200, {"content-type": "application/json"}, False),
            (500, NDJSON, True),
            (200, {"content-type": "text/html"}, True),
        ]
    ),
)
def test_of_any_body(body: bytes, places: list[int], head: tuple[int, dict[str, str], bool]) -> None:
    status, headers, stream = head
    whole = read_answer([body], status, headers, stream=stream, max_line_bytes=500)
    assert read_answer(cut_at(body, places), status, headers, stream=stream, max_line_bytes=500) == whole


@given(data=st.text("ab\r\n", max_size=40).map(str.encode), places=cuts)
def test_of_lines_and_they_are_what_lies_between_newlines(data: bytes, places: list[int]) -> None:
    buffer, got = LineBuffer(), list[bytes | None]()
    for piece in cut_at(data, places):
        buffer.receive_data(piece)
        while (line := buffer.next_line()) is not NEED_DATA:
            got.append(line)
    buffer.receive_eof()
    while (last := buffer.next_line()) is not None:
        assert last is not NEED_DATA
        got.append(last)
    *complete, rest = data.split(b"\n")
    assert got == [line.removesuffix(b"\r") for line in ([*complete, rest] if rest else complete)]
