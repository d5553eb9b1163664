"""A blob is proved by its bytes on their way, however often a range of them passes."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.blobs import digest_of

from ollama_push.core.registry.digest_check import DigestCheck
from ollama_push.core.registry.manifests import Descriptor

DATA: Final = bytes(range(200))
BLOB: Final = Descriptor(digest_of(DATA), len(DATA))


def passed(check: DigestCheck, data: bytes, offset: int, end: int) -> None:
    check.begin(offset)
    for start in range(offset, end, 7):
        check.receive(data[start : min(start + 7, end)])


def test_the_right_bytes_are_not_wrong() -> None:
    check = DigestCheck(BLOB)
    passed(check, DATA, 0, 200)
    assert not check.is_wrong


@pytest.mark.parametrize("flipped", [0, 99, 199])
def test_one_other_byte_is_seen_at_the_end(flipped: int) -> None:
    other = bytearray(DATA)
    other[flipped] ^= 1
    check = DigestCheck(BLOB)
    passed(check, bytes(other), 0, 199)
    assert not check.is_wrong
    passed(check, bytes(other), 199, 200)
    assert check.is_wrong


def test_a_range_that_begins_again_counts_as_it_passed_last() -> None:
    other = bytes(200)
    check = DigestCheck(BLOB)
    passed(check, DATA, 0, 100)
    passed(check, other, 100, 150)
    passed(check, DATA, 100, 200)
    assert not check.is_wrong
    check = DigestCheck(BLOB)
    passed(check, other, 0, 50)
    passed(check, DATA, 0, 200)
    assert not check.is_wrong


def test_what_is_behind_a_gap_cannot_be_judged() -> None:
    check = DigestCheck(BLOB)
    passed(check, bytes(200), 50, 200)
    assert not check.is_wrong


def test_an_empty_blob_is_judged_without_a_byte() -> None:
    assert not DigestCheck(Descriptor(digest_of(b""), 0)).is_wrong
    assert DigestCheck(Descriptor(digest_of(b"x"), 0)).is_wrong


@given(st.lists(st.integers(0, 200), max_size=8))
def test_ranges_that_begin_where_others_ended_or_before_prove_the_blob(ends: list[int]) -> None:
    check, at = DigestCheck(BLOB), 0
    for end in [*ends, 200]:
        passed(check, DATA, min(at, end), end)
        at = max(at, end)
    assert not check.is_wrong
