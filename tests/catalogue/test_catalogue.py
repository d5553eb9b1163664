"""Every misbehaviour ends in its one verdict, whichever client and transport meets it."""

from __future__ import annotations

from typing import Final

import pytest
from tests.catalogue.case import Case
from tests.catalogue.drivers import DRIVERS, play
from tests.catalogue.table import CASES
from tests.support.server_push import Expected, Told

from ollama_push.core.observations import AttemptFailed, AttemptStarted, EventSeen, PushFinished, PushStarted

_PLAYED: Final = [
    pytest.param(case, stream, id=f"{case.id}, {'streamed' if stream else 'not streamed'}")
    for case in CASES
    for stream in case.ways
]

# The fast lane plays every case with one transport; they differ in few cases, which their contract tests watch, too.
_DRIVERS: Final = [pytest.param(driver, marks=[] if driver == "urllib3" else [pytest.mark.slow]) for driver in DRIVERS]


@pytest.mark.parametrize("driver", _DRIVERS)
@pytest.mark.parametrize(("case", "stream"), _PLAYED)
def test_misbehaviour_ends_in_its_verdict(case: Case, stream: bool, driver: str) -> None:  # noqa: FBT001 - pytest passes it
    told = play(case, driver, stream=stream)
    assert _counted(told, case) == case.end_with(driver)
    assert _complaints(told) == []


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.id for case in CASES]
    assert sorted(set(names)) == sorted(names)


def test_only_known_drivers_differ() -> None:
    assert {driver for case in CASES for driver in case.unlike} <= set(DRIVERS)


def _counted(told: Told, case: Case) -> Expected:
    """Return the outcome; how many events came is left out where the case does not say."""
    outcome = told.outcome
    return outcome if case.expected.events is not None else Expected(None, outcome.error, outcome.layers)


def _complaints(told: Told) -> list[str]:
    """Return what is wrong with the observations and with what the error remembers, whatever the case."""
    kinds = [type(seen) for seen in told.seen]
    finished = told.seen[-1]
    assert isinstance(finished, PushFinished)
    wrong = {
        "the observations do not begin with the push and its attempt": kinds[:2] != [PushStarted, AttemptStarted],
        "a hook saw other events than the caller": told.events
        != tuple(seen.event for seen in told.seen if isinstance(seen, EventSeen)),
        "the last observation holds another error": finished.error is not told.error,
        "there is not exactly one of receipt and error": (told.receipt is None) is (told.error is None),
        "an attempt failed without an error": (AttemptFailed in kinds) is (told.error is None),
    }
    if told.error is not None:
        wrong["the error forgot the last event"] = told.error.last_event != (told.events or (None,))[-1]
        wrong["the error counts other attempts"] = told.error.attempts != 1
    return [complaint for complaint, is_so in wrong.items() if is_so]
