"""Numbers in words: decimal units, and durations a person reads at a glance."""

from __future__ import annotations

import pytest

from ollama_push.core.json_text import MAX_COUNT
from ollama_push.core.units import bytes_text, seconds_text, share_text, speed_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (100_000, "100 kB"),
        (4_700_000_000, "4.7 GB"),
        (2**60, "1153 PB"),
        (12.6, "13 B"),
    ],
)
def test_bytes(count: float, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (3.24, "3.2 s"),
        (60, "1m00s"),
        (125.4, "2m05s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (3720, "1h02m"),
        (360_000, "100h00m"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_a_share_is_rounded_down_so_that_only_what_is_complete_has_all() -> None:
    assert [share_text(fraction) for fraction in (0.0, 0.429, 0.9999, 1.0)] == ["0%", "42%", "99%", "100%"]


def test_speed() -> None:
    assert speed_text(1_200_000.0) == "1.2 MB/s"


def test_the_largest_count_of_a_peer_can_be_shown() -> None:
    assert bytes_text(MAX_COUNT).endswith(" PB")
