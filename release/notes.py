"""Prints what ``CHANGELOG.md`` says of a release: ``python -m release.notes vX.Y.Z``, or ``make release-notes``."""

from __future__ import annotations

import sys
from pathlib import Path

from release.facts import ROOT, released_versions, section_of

__all__ = ["main"]


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Print the section; return 1 when the changelog has none of that version, 2 for wrong arguments."""
    if len(arguments) != 1 or not arguments[0].strip():
        sys.stderr.write("usage: python -m release.notes vX.Y.Z\n")
        return 2
    version = arguments[0].removeprefix("v")
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    notes = section_of(version, changelog)
    if notes is None:
        there = ", ".join(released_versions(changelog)) or "none"
        sys.stderr.write(f"CHANGELOG.md has no section of {version}; it has: {there}\n")
        return 1
    sys.stdout.write(f"{notes}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
