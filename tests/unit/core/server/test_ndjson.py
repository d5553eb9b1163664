"""Bytes to lines: where they are cut, when they are too long, and at what cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

import pytest

from ollama_push.core.errors import LineTooLong, MachineMisuse
from ollama_push.core.server.ndjson import MAX_LINE_BYTES, LineBuffer
from ollama_push.core.server.sentinels import NEED_DATA

_SEGMENT_BYTES = 1460  # one Ethernet segment's worth of TCP


def _lines(pieces: Iterable[bytes], limit: int = MAX_LINE_BYTES) -> list[bytes]:
    lines: list[bytes] = []
    buffer = LineBuffer(limit)
    for piece in pieces:
        buffer.receive_data(piece)
        while (line := buffer.next_line()) is not NEED_DATA:
            assert line is not None
            lines.append(line)
    buffer.receive_eof()
    while line := buffer.next_line():
        assert line is not NEED_DATA
        lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\r\nb\r\n"], [b"a", b"b"]),
        ([b"a\r", b"\nb"], [b"a", b"b"]),
        ([b"a\rb\n"], [b"a\rb"]),
        ([b"a\r\r\n"], [b"a\r"]),
        ([b"a", b"", b"b", b"\n", b"c\nd", b"e\n"], [b"ab", b"c", b"de"]),
        ([b"\n\na\n"], [b"", b"", b"a"]),
        ([b"no newline"], [b"no newline"]),
        ([b"no newline\r"], [b"no newline"]),
        (["a\u2028b\x85c\x0bd\x0ce\x1cf\n".encode()], ["a\u2028b\x85c\x0bd\x0ce\x1cf".encode()]),
    ],
)
def test_cuts_at_newlines_only(pieces: list[bytes], lines: list[bytes]) -> None:
    assert _lines(pieces) == lines


def test_asks_for_more_while_a_line_is_unfinished() -> None:
    buffer = LineBuffer()
    assert buffer.next_line() is NEED_DATA
    buffer.receive_data(b"a")
    assert buffer.next_line() is NEED_DATA
    buffer.receive_data(b"\n")
    assert buffer.next_line() == b"a"
    assert buffer.next_line() is NEED_DATA


def test_ends_with_none_for_good() -> None:
    buffer = LineBuffer()
    buffer.receive_data(b"a\nb")
    buffer.receive_eof()
    buffer.receive_eof()
    assert [buffer.next_line() for _ in range(4)] == [b"a", b"b", None, None]


def test_nothing_may_follow_the_end() -> None:
    buffer = LineBuffer()
    buffer.receive_eof()
    with pytest.raises(MachineMisuse):
        buffer.receive_data(b"a")


@pytest.mark.parametrize("tail", [b"\n", b"\nb\n", b""])
def test_a_line_may_be_as_long_as_the_limit(tail: bytes) -> None:
    assert _lines([b"1234" + tail], limit=4)[0] == b"1234"


@pytest.mark.parametrize("pieces", [[b"12345"], [b"1"] * 5, [b"12345\n"], [b"1\n12345\n"], [b"1\n", b"1234", b"5\n"]])
def test_a_longer_line_is_refused_finished_or_not(pieces: list[bytes]) -> None:
    with pytest.raises(LineTooLong) as caught:
        _lines(pieces, limit=4)
    assert (caught.value.limit, caught.value.buffered) == (4, 5)


def test_lines_before_one_too_long_are_returned() -> None:
    buffer = LineBuffer(4)
    buffer.receive_data(b"a\n12345\n")
    assert buffer.next_line() == b"a"
    with pytest.raises(LineTooLong):
        buffer.next_line()


def test_many_short_lines_may_exceed_the_limit_together() -> None:
    assert _lines([b"123\n" * 100], limit=4) == [b"123"] * 100


def test_the_limit_is_upstreams() -> None:
    assert MAX_LINE_BYTES == 8_000_000


def test_a_body_is_one_piece() -> None:
    buffer = LineBuffer()
    buffer.receive_data(b"a\nb")
    assert buffer.next_body() is NEED_DATA
    buffer.receive_data(b"\nc\r\n")
    buffer.receive_eof()
    assert buffer.next_body() == b"a\nb\nc\r\n"
    assert buffer.next_body() is None


def test_a_body_may_be_as_long_as_the_limit() -> None:
    buffer = LineBuffer(4)
    buffer.receive_data(b"1234")
    buffer.receive_eof()
    assert buffer.next_body() == b"1234"


@pytest.mark.parametrize("ended", [False, True])
def test_a_body_has_the_same_limit(ended: bool) -> None:  # noqa: FBT001 - a parametrised case
    buffer = LineBuffer(4)
    buffer.receive_data(b"123")
    buffer.receive_data(b"45")
    if ended:
        buffer.receive_eof()
    with pytest.raises(LineTooLong) as caught:
        buffer.next_body()
    assert caught.value.buffered == 5


def test_peeking_takes_nothing_away() -> None:
    buffer = LineBuffer()
    buffer.receive_data(b"ab")
    buffer.receive_data(b"cd")
    assert buffer.peek(3) == b"abc"
    assert buffer.peek(9) == b"abcd"
    buffer.receive_eof()
    assert buffer.next_body() == b"abcd"


def _feed(size: int) -> None:
    buffer, piece = LineBuffer(), b"x" * _SEGMENT_BYTES
    for _ in range(size // _SEGMENT_BYTES):
        buffer.receive_data(piece)
        buffer.next_line()
    buffer.receive_data(b"\n")
    assert buffer.next_line() == piece * (size // _SEGMENT_BYTES)


def test_no_byte_of_an_unfinished_line_is_searched_twice() -> None:
    searched = 0

    def count(_frame: FrameType, event: str, called: Any) -> None:
        nonlocal searched
        # Every method of bytes that looks for something; join is left out, its object is the separator.
        if event == "c_call" and isinstance(receiver := getattr(called, "__self__", None), bytes | bytearray):
            searched += len(receiver)

    size = 4_000_000
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        _feed(size)
    finally:
        sys.setprofile(before)
    assert size * 0.99 < searched < size * 2


def test_eight_times_the_line_costs_about_eight_times_the_work() -> None:
    def cost(size: int) -> float:
        start = time.process_time()
        _feed(size)
        return time.process_time() - start

    # The least of several runs is the one that nothing disturbed. Quadratic work would give 64;
    # what no longer fits the cache costs a little more.
    assert min(cost(8_000_000) for _ in range(7)) < 40 * min(cost(1_000_000) for _ in range(7))


@pytest.mark.parametrize("end", [[], [b""], [b"rest"]])
@pytest.mark.parametrize(
    "pieces", [[b"a\nb\n"], [b"abc\r\n\nb\n"], [b"a", b"\nb\n"], [b"a\n", b"b\n"], [b"a"], [b"a\nb"], []]
)
def test_all_lines_at_once_are_the_lines_one_by_one(pieces: list[bytes], end: list[bytes]) -> None:
    at_once, one_by_one = LineBuffer(), LineBuffer()
    for piece in [*pieces, *end]:
        at_once.receive_data(piece)
        one_by_one.receive_data(piece)
    lines = at_once.next_lines()
    assert lines == list(iter(one_by_one.next_line, NEED_DATA))
    assert at_once.next_line() is NEED_DATA
    assert at_once.idle is not any(b"".join([*pieces, *end]).rpartition(b"\n")[2:])


def test_lines_that_were_cut_before_come_before_a_fresh_piece() -> None:
    buffer = LineBuffer()
    buffer.receive_data(b"a\nb\n")
    assert buffer.next_line() == b"a"
    buffer.receive_data(b"c\n")
    assert buffer.next_lines() == [b"b", b"c"]


def test_the_rest_of_a_line_belongs_to_what_was_left_over() -> None:
    buffer = LineBuffer()
    buffer.receive_data(b"a\nb")
    assert buffer.next_lines() == [b"a"]
    buffer.receive_data(b"c\n")
    assert buffer.next_lines() == [b"bc"]


def test_a_line_that_is_too_long_is_left_for_next_line_to_refuse() -> None:
    buffer = LineBuffer(3)
    buffer.receive_data(b"abc\nabcd\nab\n")
    assert buffer.next_lines() == [b"abc"]
    assert buffer.next_lines() == []
    with pytest.raises(LineTooLong):
        buffer.next_line()


def test_lines_that_are_given_back_come_again_first() -> None:
    buffer = LineBuffer()
    buffer.receive_data(b"a\nb\nc\n")
    buffer.give_back(buffer.next_lines()[1:])
    assert not buffer.idle
    buffer.receive_data(b"d\n")
    assert [buffer.next_line() for _ in range(4)] == [b"b", b"c", b"d", NEED_DATA]
