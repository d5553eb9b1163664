"""Ranges: what clients ask for, and what registries say that they send."""

from __future__ import annotations

import pytest

from ollama_push.gateway.pull.ranges import RangeNotSatisfiable, Span, WantedRange


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=0-0", WantedRange(0, 0)),
        (" bytes=5- ", WantedRange(5, None)),
        ("bytes=-5", WantedRange(None, 5)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=1-2,3-4", None),
        ("bytes=\u0661-", None),
        (f"bytes={'9' * 19}-", None),
        ("", None),
    ],
)
def test_one_range_is_understood(text: str, wanted: WantedRange | None) -> None:
    assert WantedRange.parse(text) == wanted


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        (WantedRange(0, None), Span(0, 10, 10)),
        (WantedRange(9, 9), Span(9, 10, 10)),
        (WantedRange(9, 99), Span(9, 10, 10)),
        (WantedRange(None, 3), Span(7, 10, 10)),
        (WantedRange(None, 30), Span(0, 10, 10)),
    ],
)
def test_a_range_ends_with_the_blob(wanted: WantedRange, span: Span) -> None:
    assert wanted.within(10) == span


@pytest.mark.parametrize(
    ("wanted", "total"), [(WantedRange(10, None), 10), (WantedRange(None, 0), 10), (WantedRange(0, 0), 0)]
)
def test_a_range_of_nothing_cannot_be_had(wanted: WantedRange, total: int) -> None:
    with pytest.raises(RangeNotSatisfiable, match=f"has {total} bytes"):
        wanted.within(total)


@pytest.mark.parametrize(
    ("status", "headers", "span"),
    [
        (200, {"content-length": "5"}, Span(0, 5, 5)),
        (200, {}, None),
        (200, {"content-length": "x"}, None),
        (206, {"content-range": "bytes 2-3/9"}, Span(2, 4, 9)),
        (206, {"content-range": "bytes 3-2/9"}, None),
        (206, {"content-range": "bytes 2-9/9"}, None),
        (206, {"content-range": "bytes 2-3/*"}, None),
        (206, {"content-length": "5"}, None),
    ],
)
def test_a_response_says_what_it_holds(status: int, headers: dict[str, str], span: Span | None) -> None:
    assert Span.sent(status, headers) == span


def test_a_span_is_written_as_a_header() -> None:
    assert (Span(2, 4, 9).size, Span(2, 4, 9).content_range) == (2, "bytes 2-3/9")
