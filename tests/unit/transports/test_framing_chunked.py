"""The chunked coding comes off the same, however the bytes are cut."""

from __future__ import annotations

import http.client
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.transports._framing import ChunkedBody

BODIES = [
    (b"0\r\n\r\n", b""),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3\r\na\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n", b"a\r\n\r\n"),
    (b"0A\r\n0123456789\r\n00\r\n\r\n", b"0123456789"),
    (b"1;a=b\r\nx\r\n1 ; c\r\ny\r\n0;last\r\n\r\n", b"xy"),
    (b"1\r\nx\r\n0\r\nX: y\r\nZ: 0\r\n\r\n", b"x"),
]


def _decode(pieces: list[bytes]) -> tuple[bytes, ChunkedBody]:
    body = ChunkedBody()
    return b"".join(body.decode(piece) for piece in pieces if not body.ended and body.problem is None), body


def _cuts(wire: bytes) -> list[list[bytes]]:
    halves = [[wire[:cut], wire[cut:]] for cut in range(len(wire) + 1)]
    return [*halves, [bytes([byte]) for byte in wire]]


@pytest.mark.parametrize(("wire", "content"), BODIES)
def test_any_cutting_gives_the_same_body(wire: bytes, content: bytes) -> None:
    for pieces in _cuts(wire):
        got, body = _decode(pieces)
        assert (got, body.ended, body.problem) == (content, True, None)


@pytest.mark.parametrize(("wire", "content"), BODIES)
def test_no_beginning_of_a_body_is_a_whole_one(wire: bytes, content: bytes) -> None:
    for cut in range(len(wire)):
        got, body = _decode([wire[:cut]])
        assert content.startswith(got)
        assert (body.ended, body.problem) == (False, None)


def test_the_bytes_of_a_chunk_are_not_held_back() -> None:
    body = ChunkedBody()
    assert [body.decode(piece) for piece in (b"5\r\nab", b"c", b"de", b"\r", b"\n1\r", b"\nf")] == [
        b"ab", b"c", b"de", b"", b"", b"f",
    ]  # fmt: skip


def test_what_follows_the_body_is_kept_apart() -> None:
    got, body = _decode([b"1\r\nx\r\n0\r\n\r\nHTTP/1.1 200"])
    assert (got, body.ended, body.surplus) == (b"x", True, b"HTTP/1.1 200")


@pytest.mark.parametrize("trailers", [b"", b"\r\n", b"X: y\r\n"])
def test_the_last_chunk_is_told_from_the_end(trailers: bytes) -> None:
    body = ChunkedBody()
    body.decode(b"1\r\nx\r\n")
    assert not body.last
    body.decode(b"0\r\n" + trailers)
    assert (body.last, body.ended) == (True, trailers == b"\r\n")


@pytest.mark.parametrize(
    "rest",
    [b"no size\r\n", b"\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1_0\r\n", b"1 1\r\n", b";a\r\n", b"1" * 17 + b"\r\n"],
)
def test_what_is_no_size_breaks_the_body_behind_the_good_bytes(rest: bytes) -> None:
    for pieces in _cuts(b"1\r\nx\r\n" + rest):
        got, body = _decode(pieces)
        assert (got, type(body.problem)) == (b"x", ValueError)


def test_a_chunk_longer_than_it_said_breaks_the_body() -> None:
    got, body = _decode([b"1\r\nxyz\r\n0\r\n\r\n"])
    assert (got, type(body.problem)) == (b"x", ValueError)


@pytest.mark.parametrize("start", [b"1", b"0\r\nX: "])
def test_an_endless_line_breaks_the_body(start: bytes) -> None:
    _got, body = _decode([start, *[b"a" * 10_000] * 7])
    assert type(body.problem) is ValueError


def test_a_long_extension_is_dropped_as_it_comes() -> None:
    body = ChunkedBody()
    assert [body.decode(piece) for piece in [b"1;a=", *[b"b" * 10_000] * 20, b"\r", b"\nx\r\n"]] == [b""] * 22 + [b"x"]
    assert len(body._held) < 66_000
    assert body.decode(b"0;" + b"c" * 200_000 + b"\r\n\r\n") == b""
    assert (body.ended, body.problem) == (True, None)


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_arguments: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def _read_by_http_client(wire: bytes) -> bytes:
    response = http.client.HTTPResponse(_Socket(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire))  # type: ignore[arg-type]  # all it asks of a socket is makefile()
    response.begin()
    return response.read()


@given(st.lists(st.binary(min_size=1)), st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b"]))
def test_http_client_reads_the_same(chunks: list[bytes], size: bytes) -> None:
    wire = b"".join(size % len(chunk) + b"\r\n" + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"
    got, body = _decode([wire])
    assert body.ended
    assert got == _read_by_http_client(wire) == b"".join(chunks)
