"""Lines and events say the same, and no line's meaning depends on another line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.strategies import events, json_values, line_pairs, lines, to_wire

from ollama_push.core.errors import MalformedLine
from ollama_push.core.events import LayerProgress, PushEvent
from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.server import wire
from ollama_push.core.server.wire import LineDecoder

pytestmark = pytest.mark.slow


def _says(line: bytes, decoder: LineDecoder) -> str:
    try:
        return repr(decoder.decode(line))
    except MalformedLine as exc:
        return repr(exc)


@given(events)
def test_an_event_survives_the_wire(event: PushEvent) -> None:
    assert LineDecoder().decode(encode_json(to_wire(event))) == event


@given(events, st.dictionaries(st.text(max_size=5).map("x{}".format), json_values, max_size=3), st.booleans())
def test_a_line_survives_being_an_event(event: PushEvent, more: dict[str, Any], ascii_only: bool) -> None:  # noqa: FBT001 - hypothesis names it
    sent = to_wire(event)
    line = json.dumps({**more, **sent}, ensure_ascii=ascii_only).encode("utf-8", "replace")
    decoded = LineDecoder().decode(line)
    assert decoded is not None
    assert not hasattr(decoded, "message")
    assert to_wire(decoded) == sent


@settings(max_examples=600)
@given(line_pairs())
def test_a_line_means_the_same_after_any_other(pair: tuple[bytes, bytes]) -> None:
    decoder = LineDecoder()
    assert [_says(line, decoder) for line in pair] == [_says(line, LineDecoder()) for line in pair]


@given(st.lists(lines, max_size=8))
def test_lines_mean_the_same_in_any_company(company: list[bytes]) -> None:
    decoder = LineDecoder()
    assert [_says(line, decoder) for line in company] == [_says(line, LineDecoder()) for line in company]


@given(st.lists(st.integers(0, 10**20), min_size=1, max_size=8))
def test_a_ticking_counter_is_read_exactly(counts: list[int]) -> None:
    decoder = LineDecoder()
    for count in counts:
        event = decoder.decode(b'{"status":"p","digest":"d","total":5,"completed":%d}' % count)
        assert event == LayerProgress("d", 5, count, "p")


@given(json_values)
def test_json_survives_being_written(value: Any) -> None:
    assert decode_json(encode_json(value)) == value


@settings(max_examples=400)
@given(lines)
def test_the_fast_decoder_reads_what_json_reads(line: bytes) -> None:
    msgspec = pytest.importorskip("msgspec")
    assert wire._decode_plain_line is not None
    try:
        fast = wire._decode_plain_line(line)
    except (msgspec.MsgspecError, ValueError):
        return  # json decides
    said = [fast.status, fast.digest, fast.total, fast.completed]
    slow = {"digest": "", "total": 0, "completed": 0} | decode_json(line)
    assert list(map(repr, said)) == [repr(slow.pop(key)) for key in ("status", "digest", "total", "completed")]
    assert not slow
