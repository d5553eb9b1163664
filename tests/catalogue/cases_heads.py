"""Heads: cut, odd, over-long, interim ones, and what is no HTTP at all."""

from __future__ import annotations

from typing import Final

from tests.catalogue.case import START, SUCCESS, Case, lines, told
from tests.support.server_push import ADDRESS, Expected

from ollama_push.core.errors import ConnectionLost
from ollama_push.testing.server import chunk

__all__ = ["CASES"]

_LOST: Final = Expected(0, ConnectionLost(ADDRESS))
_RECEIPT: Final = Expected(2)
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_TYPE: Final = b"Content-Type: application/x-ndjson\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_WHOLE: Final = told(START, SUCCESS)
_BODY: Final = lines(START, SUCCESS)
_LIMITED: Final = "both adapters take lines of up to 65,536 bytes"
_STRICT: Final = "both adapters refuse what aiohttp's parser refuses, be it stricter than HTTP asks for"


def _with(*fields: bytes) -> bytes:
    """Return a whole answer with more header lines; its body ends with the connection."""
    return _OK + _TYPE + _CLOSE + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + _BODY


CASES: Final = (
    # --- nothing, or no HTTP
    Case("no answer at all", [b""], _LOST),
    Case("an SSH server", [b"SSH-2.0-OpenSSH_9.2\r\n"], _LOST),
    Case("an SMTP server", [b"220 mail ESMTP\r\n"], _LOST),
    Case("a Redis server", [b"-ERR unknown command 'POST'\r\n"], _LOST),
    Case("lines without a head", [_BODY], _LOST),
    Case("zero bytes", [b"\0\1\2\3\r\n\r\n"], _LOST),
    Case("HTTP/2 in text", [b"HTTP/2 200 OK\r\n" + _TYPE + b"\r\n" + _BODY], _LOST),
    # --- status lines
    Case("a status that is no number", [b"HTTP/1.1 abc OK\r\n\r\n"], _LOST),
    Case("a status of two digits", [b"HTTP/1.1 20 OK\r\n\r\n"], _LOST),
    Case(
        "a status line of 70 kB",
        [b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n" + _TYPE + b"\r\n" + _BODY],
        _RECEIPT,
        unlike={"urllib3": _LOST, "aiohttp": _LOST},
        because=_LIMITED,
    ),
    Case("a status line without words", [b"HTTP/1.1 200\r\n" + _TYPE + b"\r\n" + _BODY], _RECEIPT),
    Case("HTTP/1.0", [b"HTTP/1.0 200 OK\r\n" + _TYPE + b"\r\n" + _BODY], _RECEIPT),
    Case(
        "HTTP/1.2",
        [b"HTTP/1.2 200 OK\r\n" + _TYPE + b"\r\n" + _BODY],
        _RECEIPT,
        unlike={"urllib3": _LOST, "aiohttp": _LOST},
        because=_STRICT,
    ),
    Case("lines that end in LF only", [_with().replace(b"\r\n", b"\n")], _RECEIPT),
    # --- header lines
    Case("header names in lower case", [_with().replace(b"Content-Type", b"content-type")], _RECEIPT),
    Case("a folded header", [_with(b"X-A: b", b" c")], _RECEIPT),
    Case("a header in Latin-1", [_with(b"X-A: \xe4")], _RECEIPT),
    Case("a header without a colon", [_with(b"garbage line")], _LOST),
    Case("a header with a space in its name", [_with(b"Bad Name: x")], _LOST),
    Case("a header with a zero byte", [_with(b"X-A: a\0b")], _LOST),
    Case("a header of 8 kB", [_with(b"X-Long: " + b"a" * 8_000)], _RECEIPT),
    Case("a header of 60 kB", [_with(b"X-Long: " + b"a" * 60_000)], _RECEIPT),
    Case(
        "a header of 70 kB",
        [_with(b"X-Long: " + b"a" * 70_000)],
        _RECEIPT,
        unlike={"urllib3": _LOST, "aiohttp": _LOST},
        because=_LIMITED,
    ),
    Case("90 headers", [_with(*(b"X-%d: a" % number for number in range(90)))], _RECEIPT),
    Case(
        "200 headers",
        [_with(*(b"X-%d: a" % number for number in range(200)))],
        _RECEIPT,
        unlike={"urllib3": _LOST, "aiohttp": _LOST},
        because="both adapters take 99 headers, as http.client does",
    ),
    # --- heads that are cut
    Case("cut inside the status", [b"HTTP/1.1 20"], _LOST),
    Case("cut after the status", [b"HTTP/1.1 200"], _LOST),
    Case("cut after the status line", [_OK], _LOST),
    Case("cut inside a header's name", [_OK + b"Content-Ty"], _LOST),
    Case("cut after a header", [_OK + _TYPE], _LOST),
    Case("cut inside the head of an error", [b"HTTP/1.1 500 Internal Server Error\r\nContent-Ty"], _LOST),
    # --- interim answers
    Case("100 Continue first", [b"HTTP/1.1 100 Continue\r\n\r\n", *_WHOLE], _RECEIPT),
    Case("102 Processing first", [b"HTTP/1.1 102 Processing\r\n\r\n", *_WHOLE], _RECEIPT),
    Case("103 Early Hints first", [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", *_WHOLE], _RECEIPT),
    Case("100 Continue and then nothing", [b"HTTP/1.1 100 Continue\r\n\r\n"], _LOST),
    Case(
        "101 Switching Protocols",
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + chunk(START)],
        _LOST,
    ),
)
