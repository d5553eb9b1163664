"""The recordings of a real server as heads and bodies, and what the state machine makes of any body."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import attrs

from ollama_push.core.errors import LineTooLong, OllamaPushError
from ollama_push.core.events import PushEvent
from ollama_push.core.server.ndjson import MAX_LINE_BYTES
from ollama_push.core.server.protocol import PushProtocol, PushState
from ollama_push.core.server.sentinels import NEED_DATA, PUSH_OVER

__all__ = ["NDJSON", "Reading", "RecordedAnswer", "cut_at", "read_answer", "recorded_answers", "unchunked"]

NDJSON: Final[Mapping[str, str]] = {"content-type": "application/x-ndjson"}

_FOLDER: Final = Path(__file__).parents[1] / "data" / "recordings"


@attrs.frozen
class RecordedAnswer:
    """One recorded answer as the machine gets it: the transfer coding is taken off."""

    name: str
    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    streamed: bool


@attrs.frozen
class Reading:
    """What one answer came to: events, the verdict as (type, text), the state after it."""

    events: tuple[PushEvent, ...]
    verdict: tuple[type[OllamaPushError], str] | None
    state: PushState


@cache
def recorded_answers() -> tuple[RecordedAnswer, ...]:
    """Return all recordings, by name."""
    return tuple(_load(path) for path in sorted(_FOLDER.glob("*.json")))


def read_answer(
    pieces: Iterable[bytes],
    status: int = 200,
    headers: Mapping[str, str] = NDJSON,
    *,
    stream: bool = True,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Reading:
    """Feed *pieces* to a machine, asking for events after each; only our own errors are caught."""
    machine = PushProtocol(stream=stream, max_line_bytes=max_line_bytes)
    machine.receive_head(status, headers)
    events: list[PushEvent] = []
    verdict = None
    try:
        for piece in pieces:
            machine.receive_data(piece)
            if _drain(machine, events):
                break
        else:
            machine.receive_eof()
            _drain(machine, events)
    except OllamaPushError as exc:
        # How much was buffered when the limit was crossed depends on the cutting, and may.
        verdict = (type(exc), "" if isinstance(exc, LineTooLong) else str(exc))
    return Reading(tuple(events), verdict, machine.state)


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return *data* cut at *places*, taken modulo its size; pieces may be empty."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def _drain(machine: PushProtocol, events: list[PushEvent]) -> bool:
    while (event := machine.next_event()) is not NEED_DATA:
        if event is PUSH_OVER:
            return True
        events.append(event)
    return False


def _load(path: Path) -> RecordedAnswer:
    fields = json.loads(path.read_text("utf-8"))
    head, _, body = "".join(text for _seconds, text in fields["received"]).encode().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    chunked = headers.get("transfer-encoding") == "chunked"
    streamed = '"stream": false' not in fields["request"]
    return RecordedAnswer(path.stem, int(first.split()[1]), headers, unchunked(body) if chunked else body, streamed)


def unchunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body
