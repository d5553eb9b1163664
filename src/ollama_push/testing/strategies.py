"""Hypothesis strategies for the responses to a push and the pieces they arrive in. Needs the extra ``testing``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import attrs

from ollama_push.core.events import SUCCESS_STATUS, LayerProgress, PushEvent, PushSucceeded, StatusChanged

try:
    from hypothesis import strategies as st
except ImportError as _exc:
    raise ImportError("ollama_push.testing.strategies needs hypothesis: pip install 'ollama-push[testing]'") from _exc

__all__ = [
    "PushAnswer",
    "cuttings",
    "digests",
    "event_lines",
    "events",
    "layer_progresses",
    "push_answers",
    "status_changes",
]

# All of Unicode except lone surrogates, which UTF-8 cannot encode; U+2028 and U+0085 must not end a line.
_TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\u2028\x85\r\n\\"'), max_size=40)
_STATUSES: Final = _TEXTS.filter(lambda text: text != SUCCESS_STATUS) | st.sampled_from(
    ["retrieving manifest", "pushing manifest", "pushing 49a7f1752a33"]
)
_BYTE_COUNTS: Final = st.integers(0, 2**63 - 1)  # Go's int64
# Keys that no version of the protocol has: a client must ignore them.
_UNKNOWN: Final = st.dictionaries(
    st.sampled_from(["layer", "rate", "eta", "_"]),
    st.none() | st.booleans() | st.integers(-9, 9) | st.lists(st.integers(0, 9), max_size=2) | _TEXTS,
    max_size=2,
)


def digests() -> st.SearchStrategy[str]:
    """Return digests of layers, and the literal that Ollama sends for all layers of a tensor model."""
    hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
    return hexadecimal.map("sha256:{}".format) | st.just("sha256:model")


def status_changes() -> st.SearchStrategy[StatusChanged]:
    """Return phases, the known ones and any other."""
    return st.builds(StatusChanged, _STATUSES)


def layer_progresses() -> st.SearchStrategy[LayerProgress]:
    """Return counters of one layer, in any relation to each other."""
    return st.builds(LayerProgress, digests(), _BYTE_COUNTS, _BYTE_COUNTS, _STATUSES)


def events() -> st.SearchStrategy[PushEvent]:
    """Return events of a push in progress: all kinds except the success."""
    return status_changes() | layer_progresses()


@st.composite
def event_lines(draw: st.DrawFn, event: PushEvent) -> bytes:
    """Return *event* as a line without its end, in any key order, spacing and escaping."""
    fields: dict[str, Any] = {"status": event.status}
    if isinstance(event, LayerProgress):
        fields["digest"] = event.digest
        counters = {"total": event.total, "completed": event.completed}
        # Go omits zeros; other servers may send them.
        fields |= {key: count for key, count in counters.items() if count or draw(st.booleans())}
    fields |= {key: None for key in ("digest", "total", "completed") if key not in fields and draw(st.booleans())}
    return _line(draw, fields)


@attrs.frozen
class PushAnswer:
    """A whole response to a push, and its meaning.

    Attributes:
        body: The bytes after the head, transfer coding taken off.
        events: The events that a client should see, including the success.
        error: The error in the last line; ``None`` without one.
        status: The HTTP status.
        headers: Names in lower case.
    """

    body: bytes
    events: tuple[PushEvent, ...]
    error: str | None = None
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=lambda: {"content-type": "application/x-ndjson"})

    @property
    def succeeded(self) -> bool:
        """Whether the last line is the success; a response with neither success nor error is truncated."""
        return PushSucceeded() in self.events


@st.composite
def push_answers(draw: st.DrawFn) -> PushAnswer:
    """Return streamed responses that succeed, fail, or end without either; all lines are valid."""
    sent: list[PushEvent] = draw(st.lists(events(), max_size=8))
    error = draw(st.none() | _TEXTS)
    if error is None and draw(st.booleans()):
        sent.append(PushSucceeded())
    lines = [draw(event_lines(event)) for event in sent]
    if error is not None:
        lines.append(_line(draw, {"error": error}))
    end = st.sampled_from([b"\n", b"\r\n", b"\n\n"])
    body = b"".join(line + draw(end) for line in lines)
    if draw(st.booleans()):
        body = body.rstrip(b"\r\n")
    return PushAnswer(body, tuple(sent), error)


@st.composite
def cuttings(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    """Return *data* in pieces, as a network may deliver it; none is empty."""
    cuts = draw(st.sets(st.integers(1, len(data) - 1), max_size=12)) if len(data) > 1 else set()
    edges = [0, *sorted(cuts), len(data)]
    return tuple(data[start:end] for start, end in pairwise(edges) if end > start)


def _line(draw: st.DrawFn, fields: Mapping[str, Any]) -> bytes:
    items = draw(st.permutations([*fields.items(), *draw(_UNKNOWN).items()]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :")]))
    return json.dumps(dict(items), ensure_ascii=draw(st.booleans()), separators=separators).encode()
