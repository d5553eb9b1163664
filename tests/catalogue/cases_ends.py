"""What comes after the line that ends a push, and connections that break before it."""

from __future__ import annotations

from typing import Final

from tests.catalogue.case import CHUNKED, CLOSED, READ, START, SUCCESS, Case, Wait, lines, tick, told
from tests.support.refusals import refused
from tests.support.server_push import ADDRESS, Expected

from ollama_push.core.errors import ConnectionLost
from ollama_push.testing.server import Hold, Reset, Step, chunk

__all__ = ["CASES"]

_RECEIPT: Final = Expected(2)
_LOST: Final = Expected(1, ConnectionLost(ADDRESS))
_LOST_UNSEEN: Final = Expected(0, ConnectionLost(ADDRESS))
_NO: Final = b'{"error":"no"}'
_REFUSED: Final = Expected(1, refused("no"))
_WHOLE_READ: Final = "aiohttp's parser gives up a whole read, good bytes included, for what stands at its end"

_FIRST: Final = chunk(lines(START))
_LAST: Final = chunk(lines(SUCCESS))
_BEGUN: Final[tuple[Step | Wait, ...]] = (CHUNKED + _FIRST, READ)


CASES: Final = (
    # --- after success
    Case("success twice", told(START, SUCCESS, SUCCESS), _RECEIPT),
    Case("an error after success", told(START, SUCCESS, _NO), _RECEIPT),
    Case("an error after success, in one chunk", [CHUNKED, chunk(lines(START, SUCCESS, _NO)), chunk(b"")], _RECEIPT),
    Case("garbage after success", told(START, SUCCESS, b"nope"), _RECEIPT),
    Case("progress after success", told(START, SUCCESS, tick(5)), _RECEIPT),
    Case("success and then an open connection", [CHUNKED + _FIRST + _LAST, Hold()], _RECEIPT),
    Case("success and then a flood", [CHUNKED + _FIRST + _LAST, *[chunk(lines(START) * 1_000)] * 1_000], _RECEIPT),
    Case("a whole answer and then an open connection", [CHUNKED + _FIRST + _LAST + chunk(b""), Hold()], _RECEIPT),
    Case(
        "a whole answer and then garbage in the same packet",
        [CHUNKED + _FIRST + _LAST + chunk(b"") + b"garbage"],
        _RECEIPT,
        unlike={"aiohttp": _LOST_UNSEEN},
        because=_WHOLE_READ,
    ),
    Case("a whole answer and then garbage", [*_BEGUN, _LAST + chunk(b""), READ, b"garbage"], _RECEIPT),
    Case(
        "a second answer behind the first",
        [CHUNKED + _FIRST + _LAST + chunk(b"") + CHUNKED + chunk(lines(_NO)) + chunk(b"")],
        _RECEIPT,
    ),
    # --- after an error
    Case("an error twice", told(START, _NO, b'{"error":"yes"}'), _REFUSED),
    Case("success after an error", told(START, _NO, SUCCESS), _REFUSED),
    Case("an error and then an open connection", [CHUNKED + _FIRST + chunk(lines(_NO)), Hold()], _REFUSED),
    Case("an error and then no last chunk", [CHUNKED + _FIRST + chunk(lines(_NO))], _REFUSED),
    # --- the connection breaks
    Case("dropped between lines", told(START, end=False), _LOST),
    Case("dropped inside a line", [*told(START, end=False), b"15\r\n" + SUCCESS[:9]], _LOST),
    Case("dropped right before the newline of success", [*told(START, end=False), b"15\r\n" + SUCCESS], _LOST),
    Case("dropped inside a chunk's size", [*told(START, end=False), b"1"], _LOST),
    Case("dropped right after the head", [CHUNKED], _LOST_UNSEEN),
    Case("reset before the head", [Reset()], _LOST_UNSEEN),
    Case("reset inside the head", [b"HTTP/1.1 200 OK\r\nContent-Ty", Reset()], _LOST_UNSEEN),
    Case("reset between lines", [*_BEGUN, Reset()], _LOST),
    Case("reset inside a line", [*_BEGUN, b"15\r\n" + SUCCESS[:9], Reset()], _LOST),
    Case("reset where the end of the connection would end the body", [CLOSED + lines(START), READ, Reset()], _LOST),
    Case(
        "reset inside a line where the end of the connection would end the body",
        [CLOSED + lines(START), READ, SUCCESS[:9], Reset()],
        _LOST,
    ),
)
