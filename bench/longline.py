"""An unfinished line that grows piece by piece: four times the bytes should cost four times the work."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import attrs

from ollama_push.core.server.protocol import PushProtocol
from ollama_push.core.server.sentinels import NEED_DATA

__all__ = ["Growth", "measure"]

_PIECE: Final = b"x" * 1460  # what one Ethernet frame carries
_LONG_BYTES: Final = 4_000_000
_PATIENCE_BYTES: Final = 1_000_000  # for those whose work grows with the square


@attrs.frozen
class Growth:
    """How one way of cutting lines takes a long one.

    Attributes:
        label: Which way.
        long_bytes: Length of the longer line; the shorter one has a quarter of it.
        short: Nanoseconds a byte for the shorter line.
        long: Nanoseconds a byte for the longer one; the same when the work is linear.
    """

    label: str
    long_bytes: int
    short: float
    long: float


def measure(rounds: int) -> list[Growth]:
    """Measure both sizes in turns."""
    return [_growth("PushProtocol", _ours, _LONG_BYTES, rounds), _growth("bare loop", _bare, _PATIENCE_BYTES, rounds)]


def _growth(label: str, feed: Callable[[int], None], long_bytes: int, rounds: int) -> Growth:
    feed(len(_PIECE))
    turns = [(_per_byte(feed, long_bytes // 4), _per_byte(feed, long_bytes)) for _ in range(rounds)]
    return Growth(label, long_bytes, *(median(column) for column in zip(*turns, strict=True)))


def _per_byte(feed: Callable[[int], None], size: int) -> float:
    gc.collect()
    before = time.process_time()
    feed(size)
    return (time.process_time() - before) / size * 1e9


def _ours(size: int) -> None:
    machine = PushProtocol()
    machine.receive_head(200, {"content-type": "application/x-ndjson"})
    for _ in range(size // len(_PIECE)):
        machine.receive_data(_PIECE)
        if machine.next_event() is not NEED_DATA:
            raise AssertionError("an unfinished line was an event")


def _bare(size: int) -> None:
    rest = b""
    for _ in range(size // len(_PIECE)):
        *_lines, rest = (rest + _PIECE).split(b"\n")
