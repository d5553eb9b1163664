"""The survivors that are known, each with the reason why no test notices it: ``tests/data/surviving_mutants.json``.

The file has, for each module, the mutants by the name of the function, the line as it is and the line as it would be. A
module that is not in it has not been gone through yet: its figures are told, and nothing fails for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final, Self

import attrs
from tests.mutants.mutations import ROOT, Mutant

FILE: Final = ROOT / "tests" / "data" / "surviving_mutants.json"


@attrs.frozen
class Survivors:
    """What is known of survivors.

    Attributes:
        settled: The modules of which every survivor is listed.
        reasons: The reason for each survivor.
    """

    settled: frozenset[str]
    reasons: Mapping[tuple[str, str, str, str], str]

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what is in the file."""
        modules: Mapping[str, list[dict[str, str]]] = json.loads(text)
        reasons = {
            (path, entry["in"], entry["line"], entry["mutant"]): entry["why"]
            for path, entries in modules.items()
            for entry in entries
        }
        return cls(frozenset(modules), reasons)

    def stale(self, mutants: Iterable[Mutant]) -> list[tuple[str, str, str, str]]:
        """Return what is listed of the modules of *mutants*, and is none of them any more."""
        existing = {mutant.key for mutant in mutants}
        paths = {path for path, *_ in existing}
        return [key for key in self.reasons if key[0] in paths and key not in existing]


def listed() -> Survivors:
    """Return what is in the file."""
    return Survivors.read(FILE.read_text("utf-8"))
