"""The whole catalogue, in order."""

from __future__ import annotations

from itertools import chain
from typing import Final

from tests.catalogue import (
    cases_counters,
    cases_ends,
    cases_framing,
    cases_heads,
    cases_lines,
    cases_places,
    cases_silences,
    cases_statuses,
)
from tests.catalogue.case import Case

__all__ = ["CASES", "THEMES"]

THEMES: Final = {
    "lines": cases_lines.CASES,
    "counters": cases_counters.CASES,
    "statuses": cases_statuses.CASES,
    "heads": cases_heads.CASES,
    "framing": cases_framing.CASES,
    "ends": cases_ends.CASES,
    "silences": cases_silences.CASES,
    "places": cases_places.CASES,
}
CASES: Final[tuple[Case, ...]] = tuple(chain.from_iterable(THEMES.values()))
