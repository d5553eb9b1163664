"""The contract of resume stores: sound ones keep it; one that breaks a promise is caught, for the reason given."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest
from tests.support import broken_resume_stores as broken
from tests.support.broken_resume_stores import Place, Sound

from ollama_push.core.registry.resume import ResumeStore
from ollama_push.testing.contract import RESUME_CLAUSES, ResumeClause, run_resume_contract

# Clause, who breaks it, and what is seen.
_CAUGHT: Final[list[tuple[str, Callable[[Place], Sound], str]]] = [
    ("R1 next process", broken.LosesHalf, "was saved, and"),
    ("R1 next process", broken.RoundsOffsets, "was saved, and"),
    ("R1 parts", broken.ForgetsParts, "the parts were changed"),
    ("R1 last save", broken.KeepsTheFirst, "the last save was of 7 bytes"),
    ("R2", broken.IgnoresOrigins, "another upload was claimed"),
    ("R3 nothing to resume", broken.ClaimsTwice, "another process had the key, and got"),
    ("R3 nothing changes", broken.KeepsWithoutAClaim, "the holder had saved"),
    ("R3 nothing changes", broken.ForgetsForEverybody, "the holder had saved"),
    ("R3 a race", broken.WaitsForNothing, "8 of 8 got it"),
    ("R4", broken.ForgetsNothing, "the upload was forgotten"),
    ("R4", broken.ForgetsTheClaim, "the upload was forgotten, and got"),
    ("R5", broken.KeepsWithoutAClaim, "something was saved without a claim"),
    ("R5", broken.ForgetsForEverybody, "it was forgotten without a claim"),
    ("R5", broken.ReleasesForEverybody, "another store had released it without a claim"),
    ("R5", broken.Blunt, "a released key is said to be held"),
    ("R6", broken.MixesThreads, "was saved by a thread, and"),
    ("R8", broken.LogsSessions, "the query of a session's URL was shown"),
    ("R8", broken.ShowsSessions, "the query of a session's URL was shown"),
]
_CAUGHT_UNUSABLE: Final[list[tuple[str, Callable[[Place], Sound], str]]] = [
    ("R7", broken.Raises, "no space left on device"),
    ("R7", broken.Invents, "was found in a place that cannot be used"),
    ("R7", broken.HoldsBack, "a push without a store is told not to send"),
]

_BY_NAME: Final = {str(clause): clause for clause in RESUME_CLAUSES}


def _sharing(kind: Callable[[Place], Sound]) -> Callable[[], Sound]:
    place = Place()
    return lambda: kind(place)


@pytest.mark.parametrize(("name", "kind", "seen"), _CAUGHT)
def test_a_broken_promise_is_caught(name: str, kind: Callable[[Place], Sound], seen: str) -> None:
    with pytest.raises(AssertionError, match=seen):
        _BY_NAME[name].check(_sharing(kind), _sharing(broken.Unusable))


@pytest.mark.parametrize(("name", "kind", "seen"), _CAUGHT_UNUSABLE)
def test_a_store_that_cannot_be_used_and_harms_pushes_is_caught(
    name: str, kind: Callable[[Place], Sound], seen: str
) -> None:
    with pytest.raises(AssertionError, match=seen):
        _BY_NAME[name].check(_sharing(Sound), _sharing(kind))


@pytest.mark.parametrize("kind", [Sound, broken.Leased])
@pytest.mark.parametrize("clause", RESUME_CLAUSES, ids=str)
def test_what_the_broken_ones_are_made_from_keeps_every_promise(
    clause: ResumeClause, kind: Callable[[Place], Sound]
) -> None:
    clause.check(_sharing(kind), _sharing(broken.Unusable))


def test_every_clause_is_proved_able_to_fail() -> None:
    assert {name for name, *_ in [*_CAUGHT, *_CAUGHT_UNUSABLE]} == set(_BY_NAME)


def test_every_promise_of_the_port_has_a_clause() -> None:
    promised = re.findall(r"^ *(R\d+) ", ResumeStore.__doc__ or "", re.MULTILINE)
    assert list(dict.fromkeys(clause.number for clause in RESUME_CLAUSES)) == promised


def test_the_results_tell_kept_from_broken() -> None:
    results = run_resume_contract(_sharing(broken.ForgetsNothing), _sharing(broken.Unusable))
    assert [result.clause for result in results] == list(RESUME_CLAUSES)
    assert [str(result.clause) for result in results if result.failure] == ["R4"]
