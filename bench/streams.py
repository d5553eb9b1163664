"""What a server would send: four mixes of lines, framed as HTTP chunks.

``realistic`` follows the recordings of a real server (``tests/data/recordings/success_slow.json``), which
ticks every 60 ms whether or not the counter has moved, layer after layer: there 73 % of the lines repeat the
line before, here 50 %.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import attrs

__all__ = ["MIXES", "Stream", "wire"]

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
_LAYERS: Final = 4
_STEP_BYTES: Final = 1_572_864
_MANY_LAYERS: Final = 1_000


@attrs.frozen
class Stream:
    """Names one answer; ``path`` is where the feeder serves it.

    Attributes:
        mix: A key of ``MIXES``.
        events: How many lines.
        per_chunk: Lines in each HTTP chunk.
    """

    mix: str
    events: int
    per_chunk: int

    @property
    def path(self) -> str:
        """Base path, without a trailing slash."""
        return f"/{self.mix}/{self.events}/{self.per_chunk}"

    @classmethod
    def from_target(cls, target: str) -> Stream:
        """Read the stream's name back from a request's target."""
        mix, events, per_chunk = target.split("/")[1:4]
        return cls(mix, int(events), int(per_chunk))


def _realistic(count: int) -> Iterator[bytes]:
    """Yield the ticks of several layers, each counter told twice."""
    each = -(-count // _LAYERS)
    for number in range(count):
        layer, tick = divmod(number, each)
        yield _progress(f"layer {layer}", each * _STEP_BYTES, (1 + tick // 2) * _STEP_BYTES)


def _counters(count: int) -> Iterator[bytes]:
    """Yield ticks of one layer that all differ in ``completed``."""
    for number in range(1, count + 1):
        yield _progress("layer", count * _STEP_BYTES, number * _STEP_BYTES)


def _distinct(count: int) -> Iterator[bytes]:
    """Yield ticks of many layers in turn: a line tells nothing about the next, and no two are alike."""
    for number in range(count):
        turn, layer = divmod(number, _MANY_LAYERS)
        yield _progress(f"layer {layer}", count * _STEP_BYTES, (1 + turn) * _STEP_BYTES)


def _unknown(count: int) -> Iterator[bytes]:
    """Yield one line of each of ever new layers: every one must be decoded in full."""
    for number in range(count):
        yield _progress(f"layer {number}", (1 + number) * _STEP_BYTES, _STEP_BYTES)


MIXES: Final[Mapping[str, Callable[[int], Iterator[bytes]]]] = {
    "realistic": _realistic,
    "counters": _counters,
    "distinct": _distinct,
    "unknown": _unknown,
}


@lru_cache(maxsize=2)  # the stream being measured and the one to warm up with
def wire(stream: Stream) -> bytes:
    """Return the whole answer as it goes over the wire, head included."""
    lines = [_line({"status": "retrieving manifest"})]
    lines += MIXES[stream.mix](stream.events - 3)
    lines += [_line({"status": "pushing manifest"}), _line({"status": "success"})]
    step = stream.per_chunk
    chunks = (b"".join(lines[start : start + step]) for start in range(0, len(lines), step))
    return b"".join((_HEAD, *(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n"))


@lru_cache(maxsize=_MANY_LAYERS)
def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _progress(layer: str, total: int, completed: int) -> bytes:
    digest = _digest(layer)
    return _line(
        {"status": f"pushing {digest[:12]}", "digest": f"sha256:{digest}", "total": total, "completed": completed}
    )


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
