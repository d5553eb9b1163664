"""Fails when a package is covered too little: ``python -m tests.coverage_gate .coverage.json``.

Reads what ``coverage json`` writes after the whole suite. The core is not judged here: it must be covered by its own
unit tests alone, see ``make coverage``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["shares"]

_LEAST_PERCENT: Final = 95.0
_ROOT: Final = Path(__file__).parents[1] / "src" / "ollama_push"
_COVERED: Final = ("covered_lines", "covered_branches")
_COUNTED: Final = ("num_statements", "num_branches")


def shares(report: Mapping[str, Any]) -> dict[str, float]:
    """Return how many percent of the lines and branches of each package were run; modules of the root are one."""
    covered: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for name, file in report["files"].items():
        folder, *_rest = Path(name).resolve().relative_to(_ROOT).parts
        package = "the root" if _rest == [] else folder
        covered[package] += sum(file["summary"][key] for key in _COVERED)
        counted[package] += sum(file["summary"][key] for key in _COUNTED)
    return {package: 100 * covered[package] / counted[package] for package in sorted(counted)}


def main(path: str) -> int:
    """Print each package's share; return 1 when one is too small or missing."""
    found = shares(json.loads(Path(path).read_text("utf-8")))
    expected = {folder.parent.name for folder in _ROOT.glob("*/__init__.py")}
    for package, percent in found.items():
        sys.stdout.write(f"{percent:6.2f} %  {package}\n")
    low = [f"{package} has {percent:.2f} %" for package, percent in found.items() if percent < _LEAST_PERCENT]
    absent = [f"{package} was not measured" for package in sorted(expected - found.keys())]
    for complaint in (*low, *absent):
        sys.stderr.write(f"error: {complaint}; {_LEAST_PERCENT:g} % of its lines and branches must be run by tests\n")
    return 1 if low or absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
