"""Part sizes: what is known beforehand, what speed makes of them, what a registry's no makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ollama_push.core.registry.blob_upload.part_sizes import FIRST_PART_BYTES, SMALLEST_PART_BYTES, WHOLE, PartSizes
from ollama_push.core.registry.knowledge import LessonBook, Lessons

MIB = 1024 * 1024
GIB = 1024 * MIB


def test_the_last_part_is_what_is_left() -> None:
    assert PartSizes().next_size(5) == 5
    assert PartSizes(fixed=100).next_size(99) == 99


def test_a_size_that_was_asked_for_is_kept() -> None:
    sizes = PartSizes(fixed=100 * MIB)
    sizes.took(100 * MIB, 100.0)
    assert sizes.next_size(GIB) == 100 * MIB


@pytest.mark.parametrize(
    ("size", "seconds", "after"),
    [
        (32 * MIB, 4.0, 32 * MIB),
        (32 * MIB, 1.0, 128 * MIB),
        (32 * MIB, 0.0, GIB),
        (32 * MIB, 1000.0, 5 * MIB),
        # Too small to tell a speed from.
        (SMALLEST_PART_BYTES - 1, 0.0, FIRST_PART_BYTES),
    ],
)
def test_a_part_takes_some_seconds(size: int, seconds: float, after: int) -> None:
    sizes = PartSizes()
    assert sizes.next_size(4 * GIB) == FIRST_PART_BYTES
    sizes.took(size, seconds)
    assert sizes.next_size(4 * GIB) == after


@pytest.mark.parametrize(
    ("host", "size", "whole"),
    [
        ("ghcr.io", 4 * MIB, False),
        ("GHCR.io:443", 4 * MIB, False),
        ("gcr.io", 32 * MIB, True),
        ("eu.gcr.io", 32 * MIB, True),
        ("europe-docker.pkg.dev", 32 * MIB, True),
        ("notgcr.io", 32 * MIB, False),
        ("", 32 * MIB, False),
    ],
)
def test_what_is_known_of_hosts(host: str, size: int, whole: bool) -> None:  # noqa: FBT001 - a table's column
    sizes = PartSizes(host)
    assert (sizes.next_size(GIB), sizes.fits_whole(GIB)) == (size, whole)


def test_less_is_tried_until_it_makes_no_sense() -> None:
    sizes, tried = PartSizes(fixed=MIB), [MIB]
    while sizes.too_large(tried[-1]):
        tried.append(sizes.next_size(GIB))
    assert tried == [MIB, MIB // 2, SMALLEST_PART_BYTES]


def test_what_was_too_large_once_is_not_tried_again() -> None:
    sizes = PartSizes(fixed=MIB)
    assert sizes.too_large(MIB)
    assert sizes.too_large(2 * MIB)
    assert sizes.next_size(GIB) == MIB // 2


def test_the_registrys_minimum_holds_for_all_parts_but_the_last() -> None:
    sizes = PartSizes(fixed=10)
    sizes.require_at_least(MIB)
    sizes.require_at_least(5)
    assert sizes.next_size(GIB) == MIB
    assert sizes.next_size(7) == 7
    assert not sizes.too_large(MIB), "less would be less than the minimum"


@pytest.mark.parametrize(
    ("fixed", "size", "whole"),
    [(None, 0, True), (None, MIB, True), (None, MIB + 1, False), (1000, 1000, True), (1000, 1001, False)],
)
def test_a_small_blob_goes_into_one_request(fixed: int | None, size: int, whole: bool) -> None:  # noqa: FBT001 - a table's column
    assert PartSizes(fixed=fixed).fits_whole(size) is whole


def test_a_registry_that_refuses_parts_gets_all_of_any_size_or_nothing() -> None:
    sizes = PartSizes(fixed=1000)
    sizes.refuse_parts()
    assert sizes.fits_whole(GIB)
    assert not sizes.too_large(GIB)


def test_what_was_too_large_does_not_go_whole() -> None:
    sizes = PartSizes()
    assert sizes.too_large(MIB)
    assert not sizes.fits_whole(MIB)
    assert sizes.fits_whole(MIB // 2)


def test_a_part_that_broke_is_followed_by_smaller_ones_down_to_what_object_stores_take() -> None:
    sizes = PartSizes()
    sizes.broke(32 * MIB, refused=False)
    assert sizes.next_size(GIB) == 8 * MIB
    sizes.took(8 * MIB, 0.1)
    assert sizes.next_size(GIB) == 320 * MIB, "once is no rule"
    for size, after in [(320, 80), (80, 20), (20, 5)]:
        sizes.broke(size * MIB, refused=False)
        sizes.took(5 * MIB, 0.001)
        assert sizes.next_size(GIB) == after * MIB
    for refused in (False, True):
        sizes.broke(5 * MIB, refused=refused)
        sizes.took(MIB, 0.001)
        assert sizes.next_size(GIB) == 5 * MIB


@pytest.mark.parametrize("take", [PartSizes.took_last, lambda sizes, size: sizes.took(size, 4.0)], ids=["last", "any"])
def test_a_part_that_breaks_after_one_of_its_size_was_taken_is_weather(take: Callable[[PartSizes, int], None]) -> None:
    sizes = PartSizes()
    for _ in range(3):
        sizes.broke(32 * MIB, refused=False)
        take(sizes, 32 * MIB)
    sizes.took(32 * MIB, 4.0)
    assert sizes.next_size(GIB) == 32 * MIB


@pytest.mark.parametrize("refused", [True, False])
def test_only_a_gateway_that_never_took_as_much_gets_less_than_object_stores_take(*, refused: bool) -> None:
    """Caddy answers 502 to what is above its limit; a line that breaks has none."""
    sizes, tried = PartSizes(), [32 * MIB]
    for _ in range(6):
        sizes.broke(tried[-1], refused=refused)
        tried.append(sizes.next_size(GIB))
    smallest = MIB if refused else 5 * MIB
    assert tried[:3] == [32 * MIB, 8 * MIB, 5 * MIB]
    assert tried == sorted(tried, reverse=True)
    assert tried[-1] == smallest


@pytest.mark.parametrize(
    ("host", "fixed", "size", "after"),
    [("ghcr.io", None, 4 * MIB, MIB), ("", 4 * MIB, 4 * MIB, MIB), ("", MIB, MIB, MIB)],
    ids=["ghcr", "fixed", "too small to matter"],
)
def test_where_small_parts_are_known_to_be_taken_broken_ones_get_smaller(
    host: str, fixed: int | None, size: int, after: int
) -> None:
    sizes = PartSizes(host, fixed)
    assert sizes.next_size(GIB) == size
    for _ in range(2):
        sizes.broke(size, refused=False)
    assert sizes.next_size(GIB) == after


def test_a_part_that_broke_is_not_followed_by_less_than_the_registry_wants() -> None:
    sizes = PartSizes()
    sizes.require_at_least(16 * MIB)
    for _ in range(3):
        sizes.broke(32 * MIB, refused=True)
        sizes.broke(16 * MIB, refused=True)
    assert sizes.next_size(GIB) == 16 * MIB


def test_the_last_part_ends_the_upload_unless_the_registry_refuses_that() -> None:
    sizes = PartSizes(fixed=100)
    assert (sizes.is_last_part(101), sizes.is_last_part(100)) == (False, True)
    sizes.refuse_last_part()
    assert not sizes.is_last_part(100)


def test_a_first_part_that_is_refused_leads_to_the_whole_blob() -> None:
    assert PartSizes().may_go_whole(403)
    sizes = PartSizes()
    assert [sizes.may_go_whole(status) for status in (409, 409)] == [False, True]
    assert not any(PartSizes().may_go_whole(status) for status in (401, 413, 507, 503))
    sizes = PartSizes()
    sizes.took(MIB, 1.0)
    assert not sizes.may_go_whole(403), "parts are taken here"
    sizes.refuse_parts()
    assert not sizes.may_go_whole(403)


def test_blobs_that_are_to_go_whole_do_whatever_is_known() -> None:
    sizes = PartSizes(fixed=WHOLE, lessons=LessonBook(Lessons(largest_part_bytes=MIB)))
    assert sizes.whole_only
    assert sizes.fits_whole(GIB)
    assert not sizes.too_large(GIB), "nobody has asked for parts"
    assert not sizes.may_go_whole(403)


def test_what_a_registry_teaches_is_a_lesson() -> None:
    sizes = PartSizes()
    sizes.refuse_last_part()
    assert sizes.lessons.known == Lessons(last_part_apart=True)
    assert sizes.too_large(8 * MIB)
    assert sizes.lessons.known == Lessons(4 * MIB, last_part_apart=True)
    sizes.refuse_parts()
    assert sizes.lessons.known == Lessons(4 * MIB, whole_only=True, last_part_apart=True)


def test_lessons_are_heeded_from_the_start() -> None:
    assert PartSizes(lessons=LessonBook(Lessons(largest_part_bytes=2 * MIB))).next_size(GIB) == 2 * MIB
    assert PartSizes("ghcr.io", lessons=LessonBook(Lessons(largest_part_bytes=GIB))).next_size(GIB) == 4 * MIB
    assert not PartSizes(lessons=LessonBook(Lessons(last_part_apart=True))).is_last_part(MIB)
    assert PartSizes(lessons=LessonBook(Lessons(whole_only=True))).fits_whole(GIB)


def test_a_lesson_that_leads_nowhere_is_dropped() -> None:
    """A registry that took no parts and now refuses the whole may take parts by now, and is asked once."""
    sizes = PartSizes(lessons=LessonBook(Lessons(whole_only=True)))
    assert sizes.too_large(64 * MIB)
    assert not sizes.whole_only
    assert sizes.lessons.known == Lessons(largest_part_bytes=32 * MIB)
    sizes.refuse_parts()
    assert not sizes.too_large(64 * MIB)
    assert sizes.lessons.known.whole_only


@pytest.mark.parametrize("refused", [True, False])
def test_a_limit_of_a_gateway_is_a_lesson_once_it_takes_less(*, refused: bool) -> None:
    sizes = PartSizes()
    for size in (32 * MIB, 8 * MIB):
        sizes.broke(size, refused=refused)
    sizes.took_last(1000)
    assert sizes.lessons.known == Lessons(), "an outage is no limit"
    sizes.took(5 * MIB, 1.0)
    assert sizes.lessons.known.largest_part_bytes == (5 * MIB if refused else None), "a line that breaks has none"
