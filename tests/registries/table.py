"""The table of ``docs/registries.md``: what the suite saw, registry by registry.

``make test-registries`` leaves what it saw in ``.registries.xml``. ``python -m tests.registries.table --write`` takes
that into ``seen.json``, where a registry that was not at hand keeps what was seen of it before, and writes the page.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from tests.registries.checks import CHECKS, Check
from tests.registries.deviations import DEVIATIONS, Deviation, deviation_of
from tests.registries.subjects import SUBJECTS, Subject

__all__ = ["PAGE", "SEEN", "applies", "load", "merge", "render", "written"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "registries.md"
SEEN: Final = Path(__file__).with_name("seen.json")
_RESULTS: Final = Path(__file__).parents[2] / ".registries.xml"
_MARKED: Final = re.compile(r"(?<=<!-- from the suite -->\n).*?(?=<!-- to here -->)", re.DOTALL)

Seen = dict[str, dict[str, Any]]
"""By registry: ``version``, ``date`` and, by check, what was seen."""


def applies(subject: Subject, check: Check) -> bool:
    """Say whether *check* makes sense for *subject*."""
    return check.needs <= subject.features


def load() -> Seen:
    """Return what was seen so far."""
    return dict(json.loads(SEEN.read_text("utf-8")))


def merge(seen: Seen, results: Path) -> Seen:
    """Return *seen* with what pytest wrote to *results*: a registry that was run is taken from there alone."""
    new: Seen = {}
    for suite in ET.parse(results).iter("testsuite"):
        date = suite.attrib["timestamp"][:10]
        for case in suite.iter("testcase"):
            about = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
            if "seen" in about:
                row = new.setdefault(about["registry"], {"version": about["version"], "date": date, "checks": {}})
                row["checks"][about["check"]] = about["seen"]
    return {**seen, **new}


def render(seen: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables and the list of what was seen otherwise."""
    numbers = {row: number for number, row in enumerate(DEVIATIONS, 1)}
    return f"{_registries(seen)}\n{_matrix(seen, numbers)}\n{_list(numbers)}"


def written(page: str, seen: Mapping[str, Mapping[str, Any]]) -> str:
    """Return *page* with what *seen* makes of its marked part."""
    return _MARKED.sub(lambda _match: f"\n{render(seen)}\n", page)


def _registries(seen: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for subject in SUBJECTS:
        about = seen[subject.name]
        asked = [check for check in CHECKS if applies(subject, check) and check.name in about["checks"]]
        right = [check for check in asked if about["checks"][check.name] == check.right]
        rows.append(
            (f"`{subject.name}`", subject.title, about["version"], f"{len(right)} of {len(asked)}", about["date"])
        )
    return _table(("in the suite", "registry", "version", "as it should be", "seen on"), rows)


def _matrix(seen: Mapping[str, Mapping[str, Any]], numbers: Mapping[Deviation, int]) -> str:
    head = ("check", "what is right", *(f"`{subject.name}`" for subject in SUBJECTS))
    rows = [
        (
            f"`{check.name}`: {check.title}",
            check.right,
            *(_cell(subject, check, seen[subject.name]["checks"], numbers) for subject in SUBJECTS),
        )
        for check in CHECKS
    ]
    return _table(head, rows)


def _cell(subject: Subject, check: Check, seen: Mapping[str, str], numbers: Mapping[Deviation, int]) -> str:
    if not applies(subject, check):
        return "-"
    if check.name not in seen:
        return "not run"
    if seen[check.name] == check.right:
        return "yes"
    row = deviation_of(subject.name, check.name)
    # What was seen by hand may be older than the last change of what is expected.
    return f"({numbers[row]})" if row is not None and row.seen == seen[check.name] else f"then: {seen[check.name]}"


def _list(numbers: Mapping[Deviation, int]) -> str:
    lines = [
        f"{number}. `{row.check}`: {row.why}. Seen: `{row.seen}`."
        + (" This is the way of that program, not ours to mend." if row.theirs else "")
        for row, number in numbers.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _in_order(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return *row* with its checks in the order of the suite: tests run in any."""
    checks = {check.name: row["checks"][check.name] for check in CHECKS if check.name in row["checks"]}
    return {**row, "checks": checks}


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", nargs="?", type=Path, const=_RESULTS, metavar="RESULTS", help="what pytest wrote")
    results = parser.parse_args().write
    if results is None:
        sys.stdout.write(render(load()))
        return
    seen = merge(load() if SEEN.exists() else {}, results)
    ordered = {subject.name: _in_order(seen[subject.name]) for subject in SUBJECTS if subject.name in seen}
    SEEN.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(written(PAGE.read_text("utf-8"), ordered), "utf-8")


if __name__ == "__main__":
    main()
