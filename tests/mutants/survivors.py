"""The survivors that are known, each with the reason why no test notices it: ``tests/data/surviving_mutants.json``.

The file has, for each module, the mutants by the name of the function, the line as it is and the line as it would be. A
module that is not in it has not been gone through yet: its figures are told, and nothing fails for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from tests.mutants.mutations import ROOT, Mutant

FILE: Final = ROOT / "tests" / "data" / "surviving_mutants.json"


def listed() -> dict[tuple[str, str, str, str], str]:
    """Return the reason for each survivor."""
    return {
        (path, entry["in"], entry["line"], entry["mutant"]): entry["why"]
        for path, entries in _modules().items()
        for entry in entries
    }


def settled() -> frozenset[str]:
    """Return the modules of which every survivor is listed."""
    return frozenset(_modules())


def _modules() -> Mapping[str, list[dict[str, str]]]:
    modules: Mapping[str, list[dict[str, str]]] = json.loads(FILE.read_text())
    return modules


def stale(known: Iterable[tuple[str, str, str, str]], mutants: Iterable[Mutant]) -> list[tuple[str, str, str, str]]:
    """Return what is listed and no mutant of its module any more."""
    existing = {mutant.key for mutant in mutants}
    return [key for key in known if key not in existing]
