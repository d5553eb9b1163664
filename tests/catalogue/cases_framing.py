"""Bodies that break their own framing: chunks, lengths, and the end of the connection."""

from __future__ import annotations

from typing import Final

from tests.catalogue.case import CHUNKED, CLOSED, READ, START, SUCCESS, Case, lines
from tests.support.server_push import ADDRESS, Expected

from ollama_push.core.errors import ConnectionLost, StreamTruncated
from ollama_push.testing.server import chunk, head

__all__ = ["CASES"]

_RECEIPT: Final = Expected(2)
_LOST: Final = Expected(1, ConnectionLost(ADDRESS))
_LOST_UNSEEN: Final = Expected(0, ConnectionLost(ADDRESS))
_ENDED: Final = Expected(1, StreamTruncated("retrieving manifest"))

_FIRST: Final = chunk(lines(START))
_LAST: Final = chunk(lines(SUCCESS))
_BEGUN: Final = (CHUNKED + _FIRST, READ)
_BODY: Final = lines(START, SUCCESS)
_WHOLE_READ: Final = "aiohttp's parser gives up a whole read, good bytes included, for what stands at its end"


def _length(*values: str) -> bytes:
    fields = "".join(f"Content-Length: {value}\r\n" for value in values)
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n{fields}\r\n".encode()


CASES: Final = (
    # --- chunks
    Case("a chunk size that is no number", [*_BEGUN, b"zz\r\n"], _LOST),
    Case(
        "a negative chunk size",
        [*_BEGUN, b"-5\r\nabcde\r\n"],
        _LOST,
    ),
    Case("a chunk longer than its size", [*_BEGUN, b"5\r\n" + lines(SUCCESS) + b"\r\n0\r\n\r\n"], _LOST),
    Case("a chunk size that is no number, first", [CHUNKED, b"zz\r\n"], _LOST_UNSEEN),
    Case("a chunk size line of 70 kB", [*_BEGUN, b"5;" + b"a" * 70_000 + b"\r\n"], _LOST),
    Case("chunk extensions", [CHUNKED + _FIRST + b"15;a=b\r\n" + lines(SUCCESS) + b"\r\n0\r\n\r\n"], _RECEIPT),
    Case(
        "chunk sizes with zeros in front",
        [CHUNKED + _FIRST + b"0015\r\n" + lines(SUCCESS) + b"\r\n0\r\n\r\n"],
        _RECEIPT,
    ),
    Case("trailers", [CHUNKED + _FIRST + _LAST + b"0\r\nX-Checksum: 1\r\n\r\n"], _RECEIPT),
    Case("no last chunk after success", [CHUNKED + _FIRST + _LAST], _RECEIPT),
    Case("no last chunk, no success", [CHUNKED + _FIRST], _LOST),
    Case(
        "half a last chunk, no success",
        [CHUNKED + _FIRST + b"0\r\n"],
        _LOST,
    ),
    Case("a last chunk, no success", [CHUNKED + _FIRST + chunk(b"")], _ENDED),
    Case("a last chunk and nothing before it", [CHUNKED + chunk(b"")], Expected(0, StreamTruncated())),
    # --- lengths
    Case("exactly the length", [_length(str(len(_BODY))) + _BODY], _RECEIPT),
    Case("more length than bytes", [_length("132") + lines(START)], _LOST),
    Case("more length than bytes, success among them", [_length("153") + _BODY], _RECEIPT),
    Case(
        "less length than bytes",
        [_length("33") + _BODY],
        _ENDED,
        unlike={"aiohttp": _LOST_UNSEEN},
        because=_WHOLE_READ,
    ),
    Case("a length of nothing", [_length("0")], Expected(0, StreamTruncated())),
    Case(
        "the length twice",
        [_length("54", "54") + _BODY],
        _RECEIPT,
        unlike={"urllib3": _LOST_UNSEEN, "aiohttp": _LOST_UNSEEN},
        because="both adapters refuse the repetition that RFC 9112, 6.3 lets pass, as aiohttp does",
    ),
    Case("two lengths", [_length("54", "5") + _BODY], _LOST_UNSEEN),
    Case("a negative length", [_length("-5") + _BODY], _LOST_UNSEEN),
    Case(
        "a length that is no number",
        [_length("abc") + _BODY],
        _LOST_UNSEEN,
    ),
    Case(
        "a length and chunks",
        [head(headers={"Content-Length": "5", "Transfer-Encoding": "chunked"}) + _FIRST + _LAST + chunk(b"")],
        _RECEIPT,
        unlike={"urllib3": _LOST_UNSEEN, "aiohttp": _LOST_UNSEEN},
        because="both adapters refuse the mixture that RFC 9112, 6.3 advises against",
    ),
    Case(
        "chunked in upper case",
        [head(headers={"Transfer-Encoding": "CHUNKED"}) + _FIRST + _LAST + chunk(b"")],
        _RECEIPT,
    ),
    # --- the end of the connection
    Case("a body that ends with the connection", [CLOSED + _BODY], _RECEIPT),
    Case("a body that ends with the connection, no success", [CLOSED + lines(START)], _ENDED),
    Case("a head and then the end", [CLOSED], Expected(0, StreamTruncated())),
)
