"""Asks for known vulnerabilities of what a wheel installs: ``python -m release.audit dist/NAME.whl`` (make audit).

pip-audit 2.10 ends well, and says "No known vulnerabilities found", when its data has none of the packages, as behind
an index that passes none of it on. Here, what was not looked up is said, and does not count as audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import attrs

from release.environments import installed_wheel
from release.facts import Project

__all__ = ["Audit", "AuditExit", "audit", "main", "read_report"]

_STRICT: Final = "--strict"


class AuditExit(IntEnum):
    """What the program ends with."""

    CLEAN = 0
    VULNERABLE = 1
    USAGE = 2
    NOT_AUDITED = 3
    """With ``--strict`` alone; else a machine that cannot reach the data fails nothing."""


@attrs.frozen
class Audit:
    """What was found.

    Attributes:
        audited: Names of packages whose vulnerabilities were looked up.
        unaudited: Names of those that were not, each with pip-audit's reason.
        found: Each vulnerability as one line of text.
    """

    audited: tuple[str, ...]
    unaudited: Mapping[str, str]
    found: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what a person is told."""
        told = [f"vulnerable: {line}" for line in self.found]
        if self.unaudited:
            name, reason = next(iter(self.unaudited.items()))
            told.append(f"NOT AUDITED: {len(self.unaudited)}, such as {name}: {reason}")
        told.append(f"audited: {len(self.audited)} packages, {len(self.found)} known vulnerabilities")
        return told

    def exit_code(self, *, strict: bool) -> AuditExit:
        """Return the program's exit code."""
        if self.found:
            return AuditExit.VULNERABLE
        incomplete = self.unaudited or not self.audited
        return AuditExit.NOT_AUDITED if incomplete and strict else AuditExit.CLEAN


def read_report(report: Mapping[str, Any], own: str) -> Audit:
    """Return what pip-audit's *report* says, without *own*: a wheel that is to be released is in no data."""
    packages: Sequence[Mapping[str, Any]] = [each for each in report["dependencies"] if each["name"] != own]
    return Audit(
        tuple(each["name"] for each in packages if "skip_reason" not in each),
        {each["name"]: each["skip_reason"] for each in packages if "skip_reason" in each},
        tuple(
            f"{each['name']} {each['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'nothing'}"
            for each in packages
            for found in each.get("vulns", ())
        ),
    )


def audit(packages: Path, own: str) -> Audit:
    """Look up what is installed in the folder *packages*."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--path",
        str(packages),
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return read_report(json.loads(done.stdout), own)
    except ValueError:
        # It broke off: there is no network, no such host, no certificate.
        last = done.stderr.strip().splitlines()[-1:] or ["pip-audit said nothing"]
        return Audit((), {"any": last[0]}, ())


def main(arguments: list[str]) -> int:
    """Audit the wheel, and say what came of it."""
    names = [argument for argument in arguments if argument != _STRICT]
    if len(names) != 1:
        sys.stderr.write("usage: python -m release.audit [--strict] dist/NAME.whl\n")
        return AuditExit.USAGE
    wheel = Path(names[0]).resolve(strict=True)
    project = Project.read()
    with tempfile.TemporaryDirectory() as folder:
        python = installed_wheel(wheel, Path(folder) / "env", project)
        [packages] = python.parents[1].glob("lib/python3.*/site-packages")
        found = audit(packages, project.name)
    sys.stdout.write("".join(f"{line}\n" for line in found.lines()))
    return found.exit_code(strict=_STRICT in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
