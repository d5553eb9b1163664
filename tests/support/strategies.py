"""What the laws are tried on: events, lines, cuts, and bytes that were something once."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st
from tests.support.odd_lines import ODD_LINES
from tests.support.server_recordings import recorded_answers

from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged

__all__ = ["bodies", "cuts", "damaged_bodies", "events", "json_values", "line_pairs", "lines", "texts", "to_wire"]

# All of Unicode but lone surrogates, which no UTF-8 holds.
texts: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counters: Final = st.integers(0, 2**70)

events: Final = st.one_of(
    texts.filter(lambda text: text != "success").map(StatusChanged),
    st.builds(LayerProgress, texts.filter(bool), counters, counters, texts.filter(lambda text: text != "success")),
    st.just(PushSucceeded()),
)

json_values: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def to_wire(event: PushEvent) -> dict[str, Any]:
    """Return the object a server sends for *event*, zero counters left out as Go does."""
    value: dict[str, Any] = {"status": event.status}
    if isinstance(event, LayerProgress):
        value["digest"] = event.digest
        value |= {key: count for key, count in (("total", event.total), ("completed", event.completed)) if count}
    return value


def _dump(value: Any, *, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode()


_keys: Final = st.sampled_from(["status", "digest", "total", "completed", "error", "x"])

lines: Final = st.one_of(
    st.builds(_dump, events.map(to_wire), ascii_only=st.booleans()),
    st.builds(_dump, st.dictionaries(_keys, json_values, max_size=6), ascii_only=st.booleans()),
    st.sampled_from(ODD_LINES).filter(lambda line: len(line) < 1000),
    st.binary(max_size=30).filter(lambda line: b"\n" not in line),
)

_tail: Final = st.text('0123456789}{,:"\\ -+.eEcompletd', max_size=24).map(str.encode)


@st.composite
def line_pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two lines that share a beginning, as the decoder's short cut likes them, and end anyhow."""
    first = draw(lines)
    kept = draw(st.integers(0, len(first)))
    numbers = st.integers(-5, 10**20).map(lambda number: b"%d}" % number)
    if draw(st.booleans()) and (key := first.rfind(b'"completed":')) >= 0:
        kept = key + len(b'"completed":')
    return first, first[:kept] + draw(numbers | _tail)


cuts: Final = st.lists(st.integers(0, 1 << 30), max_size=12)

bodies: Final = st.builds(
    lambda parts, end: end.join(parts), st.lists(lines, max_size=6), st.sampled_from([b"\n", b"\r\n", b"\n\n"])
)

_recorded: Final = st.sampled_from([recorded.body[:4000] for recorded in recorded_answers()])


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    """A real server's answer with a few bytes changed, lost, doubled or put in."""
    body = bytearray(draw(_recorded))
    for _ in range(draw(st.integers(1, 5))):
        place, junk = draw(st.integers(0, len(body))), draw(st.binary(max_size=4))
        body[place : place + draw(st.integers(0, 5))] = junk
        if draw(st.booleans()):
            body[place:place] = body[: draw(st.integers(0, 200))]
    return bytes(body)
