"""Servers that fall silent, and servers that keep talking while nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.catalogue.case import CHUNKED, CLOSED, START, STREAMED, SUCCESS, UNSTREAMED, Case, Wait, lines, tick, told
from tests.support.refusals import refused
from tests.support.server_push import ADDRESS, Expected

from ollama_push.core.errors import PushStalled, TransportTimeout
from ollama_push.testing.server import Hold, Pause, Step, chunk, head

__all__ = ["CASES"]

_SHORT: Final = 0.3
_FIRST: Final = chunk(lines(START))
_FLOOD: Final = 200_000
_OK: Final = b"HTTP/1.1 200 OK\r\n"


def _silent(what: str, script: list[Step | Wait], events: int = 0) -> Case:
    """Return a case in which nothing comes any more, and the client gives up."""
    expected = Expected(events, TransportTimeout(ADDRESS, "read", _SHORT))
    return Case(what, [*script, Hold()], expected, ways=STREAMED, stall_timeout=_SHORT)


def _dripping(data: bytes) -> Iterator[Step]:
    for byte in data:
        yield bytes([byte])
        yield Pause(0.001)


def _stalled(what: str, start: bytes, again: bytes) -> Case:
    """Return a case in which *again* comes without a pause until the client gives up; how often is not counted."""
    expected = Expected(None, PushStalled(_SHORT))
    return Case(what, [start, *[again] * _FLOOD], expected, ways=STREAMED, stall_timeout=_SHORT)


CASES: Final = (
    _silent("silent before the head", []),
    _silent("silent inside the head", [_OK]),
    _silent("silent after 100 Continue", [b"HTTP/1.1 100 Continue\r\n\r\n"]),
    _silent("silent after the head", [CHUNKED]),
    _silent("silent after a line", [CHUNKED + _FIRST], 1),
    _silent("silent inside a line", [CHUNKED + _FIRST + b"15\r\n" + SUCCESS[:9]], 1),
    _silent("silent before the newline of success", [CHUNKED + _FIRST + chunk(SUCCESS)], 1),
    _silent("silent inside a chunk's size", [CHUNKED + _FIRST + b"1"], 1),
    _silent("silent where the end of the connection would end the body", [CLOSED + lines(START)], 1),
    _silent("silent where a length would end the body", [head(headers={"Content-Length": "54"}) + lines(START)], 1),
    _stalled("a counter that stands still", CHUNKED + _FIRST, chunk(lines(tick(50)))),
    _stalled("a counter that is never there", CHUNKED + _FIRST, chunk(lines(tick(None)))),
    _stalled("a status that repeats", CHUNKED, chunk(lines(b'{"status":"pushing manifest"}'))),
    _stalled("blank lines for ever", CHUNKED + _FIRST, chunk(b"\n")),
    _stalled("a line that never ends", CHUNKED + _FIRST, chunk(b" ")),
    Case(
        "a head that drips",
        [*_dripping(CHUNKED), _FIRST, chunk(lines(SUCCESS)), chunk(b"")],
        Expected(2),
    ),
    Case("lines that drip", [step for line in told(START, SUCCESS) for step in (line, Pause(0.05))], Expected(2)),
    Case(
        "an error after a pause",
        [CHUNKED + _FIRST, Pause(0.1), chunk(lines(b'{"error":"no"}'))],
        Expected(1, refused("no")),
    ),
    Case(
        "silent for longer than a stall when not asked to stream",
        [Pause(2 * _SHORT), *told(SUCCESS)],
        Expected(1),
        ways=UNSTREAMED,
        stall_timeout=_SHORT,
    ),
)
