"""CPU time per event, and the memory that it takes: every contender, the same bytes, in turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Final

import attrs
from bench.contenders import CONTENDERS, Contender
from bench.contestant import Contestant, Measured
from bench.feeder import running_feeder
from bench.streams import MIXES, Stream

__all__ = ["Row", "measure", "memory_rows", "rows_by_table"]

_PER_CHUNK: Final = (1, 50)
_SUCCESS: Final = "success"

Results = dict[tuple[Stream, str], list[Measured]]


@attrs.frozen
class Row:
    """One line of a table.

    Attributes:
        label: Who.
        value: The median, in the table's unit.
        ratio: ``value`` divided by that of the row to compare with.
        verdict: What the contender made of the push, in every round.
    """

    label: str
    value: float
    ratio: float
    verdict: str


def measure(events: int, rounds: int) -> Results:
    """Let every contender push every stream, *rounds* times, each round in fresh processes.

    Within a round the contenders take turns stream by stream, so that whatever else the machine does meets
    all of them.
    """
    results: Results = {}
    for _ in range(rounds):
        with running_feeder() as url, ExitStack() as stack:
            contestants = {label: stack.enter_context(Contestant(label, url)) for label in CONTENDERS}
            for stream in _streams(events):
                for contender in _taking_part(stream):
                    measured = contestants[contender.label].push(stream)
                    results.setdefault((stream, contender.label), []).append(measured)
    return results


def rows_by_table(results: Results) -> Iterator[tuple[str, list[Row]]]:
    """Yield a title and the rows of each table: microseconds per event, compared with the bare loop."""
    for stream in dict.fromkeys(stream for stream, _label in results):
        for colour in ("sync", "async"):
            taking_part = [one for one in _taking_part(stream) if one.colour == colour]
            bare = next(one for one in taking_part if one.bare)
            reference = _microseconds(stream, results[stream, bare.label])
            rows = [
                Row(one.label, spent, spent / reference, _verdict(results[stream, one.label]))
                for one in taking_part
                if (spent := _microseconds(stream, results[stream, one.label]))
            ]
            chunks = "one event" if stream.per_chunk == 1 else f"{stream.per_chunk} events"
            yield f"{stream.mix} mix, {chunks} a chunk, {colour}", rows


def memory_rows(results: Results) -> list[Row]:
    """Return peak resident MiB after the first stream of each round, compared with the official client."""
    stream = next(iter(results))[0]
    rows = []
    for colour in ("sync", "async"):
        taking_part = [one for one in _taking_part(stream) if one.colour == colour]
        official = next(one for one in taking_part if one.official)
        reference = _mebibytes(results[stream, official.label])
        for one in taking_part:
            measured = results[stream, one.label]
            rows.append(Row(one.label, _mebibytes(measured), _mebibytes(measured) / reference, _verdict(measured)))
    return rows


def _streams(events: int) -> list[Stream]:
    return [Stream(mix, events, per_chunk) for mix in MIXES for per_chunk in _PER_CHUNK]


def _taking_part(stream: Stream) -> list[Contender]:
    return [one for one in CONTENDERS.values() if stream.mix == "realistic" or not one.peer]


def _microseconds(stream: Stream, measured: list[Measured]) -> float:
    return median(one.cpu_seconds for one in measured) / stream.events * 1e6


def _mebibytes(measured: list[Measured]) -> float:
    return median(one.peak_bytes for one in measured) / 2**20


def _verdict(measured: list[Measured]) -> str:
    return next((one.verdict for one in measured if one.verdict != _SUCCESS), _SUCCESS)
