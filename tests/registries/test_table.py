"""The page, what was seen and the suite agree: in names, in what is expected, and in every letter of the table."""

from __future__ import annotations

import pytest
from tests.registries.checks import CHECKS
from tests.registries.deviations import DEVIATIONS, deviation_of, expected
from tests.registries.subjects import SUBJECTS
from tests.registries.table import PAGE, applies, load, written

pytestmark = [pytest.mark.docs, pytest.mark.registries]

_PAIRS = [(subject, check) for subject in SUBJECTS for check in CHECKS if applies(subject, check)]


def test_what_was_seen_has_the_names_of_the_suite() -> None:
    seen = load()
    assert list(seen) == [subject.name for subject in SUBJECTS]
    for subject in SUBJECTS:
        known, was_seen = {each.name for owner, each in _PAIRS if owner is subject}, set(seen[subject.name]["checks"])
        # A check may be newer than the last time that a registry was run by hand.
        assert was_seen <= known if subject.by_hand else was_seen == known


def test_what_was_seen_is_what_the_suite_expects() -> None:
    seen = load()
    assert {
        (subject.name, check.name): seen[subject.name]["checks"][check.name]
        for subject, check in _PAIRS
        if not subject.by_hand and seen[subject.name]["checks"][check.name] != expected(subject.name, check)
    } == {}


def test_every_deviation_is_of_a_check_that_is_made_and_is_none_that_is_right() -> None:
    used = {deviation_of(subject.name, check.name) for subject, check in _PAIRS}
    assert used - {None} == set(DEVIATIONS)
    right = {check.name: check.right for check in CHECKS}
    assert [row for row in DEVIATIONS if row.seen == right[row.check]] == []
    known = {(subject.name, check.name) for subject, check in _PAIRS}
    named = {(registry, row.check) for row in DEVIATIONS for registry in row.registries or ()}
    assert named <= known


def test_the_page_shows_what_was_seen() -> None:
    page = PAGE.read_text("utf-8")
    assert page == written(page, load()), "run: python -m tests.registries.table --write"
