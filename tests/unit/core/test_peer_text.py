"""What is kept of a peer's text: short, readable, without secrets, whatever it is."""

from __future__ import annotations

import pytest

from ollama_push.core.peer_text import INSPECTED_CHARACTERS, SHOWN_CHARACTERS, clean, readable_excerpt
from ollama_push.core.responses import retry_after_seconds
from ollama_push.core.server.error_body import server_error
from ollama_push.core.server.reasons import reason_for


def test_a_short_text_stays_and_a_long_one_is_cut() -> None:
    assert clean("a" * SHOWN_CHARACTERS) == "a" * SHOWN_CHARACTERS
    assert clean("a" * (SHOWN_CHARACTERS + 1)) == f"{'a' * (SHOWN_CHARACTERS - 3)}..."
    assert clean("abcdef", 5) == "ab..."


def test_half_a_secret_at_the_end_of_what_is_looked_at_is_left_out() -> None:
    """Everything before it shrinks, so that the end of what is looked at is shown."""
    before = f"password={'x' * (INSPECTED_CHARACTERS - 30)}"
    assert clean(f"{before} https://me:hushhushhushhush@example.com/") == "password=<hidden>..."
    assert clean("x" * (INSPECTED_CHARACTERS + 1)).endswith("x...")


@pytest.mark.parametrize(
    ("page", "read"),
    [
        (b"<title>No</title>", "No"),
        (b"<head><TITLE lang='en'>No</TITLE>way", "No: way"),
        (b"<title>no end", "no end"),
        (b"<title", ""),
        (b"<p>a&#65;b", "aAb"),
        (b"<p>&#" + b"9" * 5000, "\ufffd"),
        (b"<p>&#x" + b"9" * 5000 + b";", "\ufffd"),
    ],
)
def test_a_page_is_read_as_a_person_would(page: bytes, read: str) -> None:
    assert readable_excerpt(page) == read


@pytest.mark.parametrize(
    "asked",
    [
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "1e400",
        "\u0661",
    ],
)
def test_a_date_that_no_clock_can_hold_is_no_wait(asked: str) -> None:
    assert retry_after_seconds({"retry-after": asked, "date": "Mon, 01 Jan 2024 00:00:00 GMT"}) is None


def test_a_wait_is_bounded() -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    assert retry_after_seconds({"retry-after": "9" * 5000, "date": date}) == 999_999_999
    assert retry_after_seconds({"retry-after": "Mon, 01 Jan 9999 00:00:00 GMT", "date": date}) == 1e9


def test_the_end_of_a_long_text_tells_its_reason_too() -> None:
    assert reason_for(f"{'x' * 100_000}: context canceled") is reason_for(": context canceled")


def test_a_url_that_no_browser_opens_is_no_place_to_sign_in() -> None:
    body = b'{"error":"unauthorized","signin_url":"https://o/%s"}' % (b"a" * 2000)
    assert server_error(401, {}, body).signin_url is None
