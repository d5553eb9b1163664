"""Odd responses end alike with both adapters: in the same body, or in ``ConnectionLost``."""

from __future__ import annotations

from contextlib import closing

import pytest
import urllib3
from tests.transports.conftest import MakeTransport

from ollama_push.core.errors import ConnectionLost
from ollama_push.core.ports import HttpRequest, Transport
from ollama_push.testing.server import NextRequest, ScriptedServer
from ollama_push.transports import Urllib3Transport

_HELLO = b"hello"
_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked"
_LENGTH = b"Content-Length: 5"


def _wire(*fields: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = _HELLO) -> bytes:
    return b"\r\n".join([status, *fields, b"", body])


def _chunked(body: bytes) -> bytes:
    return _wire(_CHUNKED, body=body)


def _fetch(transport: Transport, wire: bytes, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    with ScriptedServer([wire]) as server, transport.open(HttpRequest(method, server.url)) as response:
        return response.status, dict(response.headers), b"".join(response.chunks())


_READ = {
    "a length": _wire(_LENGTH),
    "a length with zeros in front": _wire(b"Content-Length: 005"),
    "a length that is folded": _wire(b"Content-Length:", b" 5"),
    "chunks": _chunked(_CHUNKS),
    "chunks, folded": _wire(b"Transfer-Encoding:", b" CHUNKED ", body=_CHUNKS),
    "a chunk extension of 200 kB": _chunked(b"5;a=" + b"x" * 200_000 + b"\r\nhello\r\n0\r\n\r\n"),
    "a last chunk with an extension of 200 kB": _chunked(b"5\r\nhello\r\n0;" + b"x" * 200_000 + b"\r\n\r\n"),
    "a chunk size with 30 zeros in front": _chunked(b"0" * 30 + b"5\r\nhello\r\n0\r\n\r\n"),
    "a trailer of 50 kB": _chunked(b"5\r\nhello\r\n0\r\nX: " + b"x" * 50_000 + b"\r\n\r\n"),
    "99 headers": _wire(_LENGTH, *[b"X: y"] * 98),
    "a header of 65 kB": _wire(_LENGTH, b"X: " + b"x" * 65_000),
    "lines that end in LF": _wire(_LENGTH).replace(b"\r\n", b"\n"),
    "no reason": _wire(_LENGTH, status=b"HTTP/1.1 200"),
    "a reason with a zero byte": _wire(_LENGTH, status=b"HTTP/1.1 200 a\0b"),
    "an interim response of 199": b"HTTP/1.1 199 X\r\nX: y\r\n\r\n" + _wire(_LENGTH),
    "the end of the connection": _wire(),
    "an upgrade that nobody asked for": _wire(_LENGTH, b"Connection: upgrade", b"Upgrade: h2c"),
}

_REFUSED = {
    **{
        f"Content-Length: {value.decode('latin-1')[:20]}": _wire(b"Content-Length: " + value)
        for value in (
            b"-5",
            b"+5",
            b"0x10",
            b"5, 5",
            b"5,5",
            b"5, 6",
            b"5 5",
            b"5.0",
            b"5_0",
            b"abc",
            b"",
            b"\xd9\xa5",
            b"9" * 20,
            b"9" * 400,
        )
    },
    "the length twice": _wire(_LENGTH, _LENGTH),
    "a length, and chunks": _wire(_LENGTH, _CHUNKED, body=_CHUNKS),
    "chunks, and a length": _wire(_CHUNKED, _LENGTH, body=_CHUNKS),
    "chunks, and a bad length": _wire(_CHUNKED, b"Content-Length: -5", body=_CHUNKS),
    **{
        f"Transfer-Encoding: {value.decode()}": _wire(b"Transfer-Encoding: " + value, body=_CHUNKS)
        for value in (
            b"gzip",
            b"gzip, chunked",
            b"chunked, chunked",
            b"identity",
            b"xchunked",
            b"chunked;a=b",
            b"",
            b"chunked,",
            b"\x0bchunked",
        )
    },
    "chunked twice": _wire(_CHUNKED, _CHUNKED, body=_CHUNKS),
    **{
        f"status {value.decode()}": _wire(_LENGTH, status=b"HTTP/1.1 " + value + b" X")
        for value in (b"000", b"099", b"101", b"600", b"999", b"1000", b"0200", b"+200", b"20", b"2e2", b"200abc")
    },
    **{
        f"status line {value.decode()!r}": _wire(_LENGTH, status=value)
        for value in (
            b"HTTP/0.9 200 OK",
            b"HTTP/1.2 200 OK",
            b"HTTP/1.10 200 OK",
            b"HTTP/2.0 200 OK",
            b"HTTP/11 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1\t200 OK",
            b" HTTP/1.1 200 OK",
            b"HTTP/1.1 200\t",
            b"HTTP/1.1 200 a\rb",
        )
    },
    "a status line of 200 kB": _wire(_LENGTH, status=b"HTTP/1.1 200 " + b"x" * 200_000),
    "lines that end in CR": _wire(_LENGTH).replace(b"\r\n", b"\r"),
    "a header of 200 kB": _wire(_LENGTH, b"X: " + b"x" * 200_000),
    "100 headers": _wire(_LENGTH, *[b"X: y"] * 99),
    "3,000 headers": _wire(_LENGTH, *[b"X: y"] * 2_999),
    **{
        f"header {value.decode('latin-1')!r}": _wire(value, _LENGTH)
        for value in (
            b"Bad Name: x",
            b"From me: x",
            b"X : y",
            b": y",
            b"X",
            b"X\0: y",
            b"X: a\0b",
            b"X: a\rb",
            b"X: a\r\r\nY: b",
            b"X\xe4: y",
            b"X@: y",
            b"X(: y",
            b'X": y',
            b"Content-Length : 5",
            b"Transfer-Encoding : chunked",
        )
    },
    **{
        f"a head cut at {head[-8:]!r}": head
        for head in (
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nX-A",
            b"HTTP/1.1 200 OK\r\nX: y\r\n",
            b"HTTP/1.1 200 OK\r\nX: y\r\n\r",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\nX: y\r\n",
        )
    },
    "an interim response with a bad header": b"HTTP/1.1 103 X\r\nX Y: z\r\n\r\n" + _wire(_LENGTH),
    **{
        f"chunk size {size.decode()!r}": _chunked(size + b"\r\nhello\r\n0\r\n\r\n")
        for size in (b"0x5", b"-5", b"+5", b" 5", b"\t5", b"5_", b"5,", b"5;", b"5;a\rb", b"", b"F" * 18)
    },
    "a chunk without its line end": _chunked(b"5\r\nhelloXX0\r\n\r\n"),
    "a trailer of 200 kB": _chunked(b"5\r\nhello\r\n0\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"),
    "no last chunk": _chunked(b"5\r\nhello\r\n"),
    "half a last chunk": _chunked(b"5\r\nhello\r\n0\r\n"),
}


@pytest.mark.parametrize("wire", _READ.values(), ids=_READ)
def test_what_is_odd_but_plain_is_read(make: MakeTransport, wire: bytes) -> None:
    with closing(make()) as transport:
        status, _headers, body = _fetch(transport, wire)
    assert (status, body) == (200, _HELLO)


@pytest.mark.parametrize("wire", _REFUSED.values(), ids=_REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(make: MakeTransport, wire: bytes) -> None:
    with closing(make()) as transport, pytest.raises(ConnectionLost) as caught:
        _fetch(transport, wire)
    # What the peer wrote is not repeated: it may hold anything.
    assert len(caught.value.detail) < 200
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("field", [b"Content-Length: 5", _CHUNKED])
def test_a_status_without_a_body_has_none_whatever_it_announces(make: MakeTransport, status: int, field: bytes) -> None:
    wire = _wire(field, status=b"HTTP/1.1 %d X" % status, body=b"")
    with closing(make()) as transport:
        assert _fetch(transport, wire)[::2] == (status, b"")


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (b"/a?b=c%20d", "/a?b=c%20d"),
        (b"/x y", "/x y"),
        (b"//elsewhere/x", "//elsewhere/x"),
        (b"http://[::1", "http://[::1"),
        (b"http://h:99999999/", "http://h:99999999/"),
        (b"/\x01\x7f", "/\x01\x7f"),
        (b"/a\\b", "/a\\b"),
        (b"\t/a\tb\t", "/a b"),
        (b"/a\r\n /b", "/a /b"),
        (b"/a\r\n\t/b", "/a /b"),
        (b"/a\r\nLocation: /b", "/a, /b"),
        ("/ä€".encode(), "/ä€"),
        (b"/\xe4\xff", "/äÿ"),
        (b"", ""),
    ],
)
def test_a_location_is_handed_over_alike(make: MakeTransport, sent: bytes, value: str) -> None:
    with closing(make()) as transport:
        status, headers, _body = _fetch(transport, _wire(_LENGTH, b"Location: " + sent, status=b"HTTP/1.1 202 X"))
    assert (status, headers["location"]) == (202, value)


def test_a_refused_head_ends_its_connection(make: MakeTransport) -> None:
    refused, good = _wire(_CHUNKED, _LENGTH, body=_CHUNKS), _wire(_LENGTH)
    with ScriptedServer([refused, NextRequest(), good]) as server, closing(make()) as transport:
        with pytest.raises(ConnectionLost), transport.open(HttpRequest("GET", server.url)):
            pass
        with pytest.raises(ConnectionLost), transport.open(HttpRequest("GET", server.url)):
            pass
        assert server.accepted == 2


@pytest.mark.parametrize("field", [b"Content-Length: -5", b"Content-Length: 5\r\nContent-Length: 5", b"X Y: z"])
def test_an_injected_pool_is_as_strict_about_lengths(field: bytes) -> None:
    # It parses heads with http.client alone, which drops what comes from the odd line on.
    with closing(Urllib3Transport(urllib3.PoolManager())) as transport:
        if field == b"X Y: z":
            assert _fetch(transport, _wire(field, _LENGTH))[2] == _HELLO
            return
        with pytest.raises(ConnectionLost):
            _fetch(transport, _wire(field))


def test_an_injected_pool_does_not_guess_a_coding() -> None:
    with closing(Urllib3Transport(urllib3.PoolManager())) as transport, pytest.raises(ConnectionLost, match="coding"):
        _fetch(transport, _wire(b"Transfer-Encoding: chunked ", body=_CHUNKS))
