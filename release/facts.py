"""What every part of a release goes by, read from ``pyproject.toml`` and ``CHANGELOG.md``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

import attrs

__all__ = ["ROOT", "Project", "fragment_kinds", "is_fragment", "released_versions", "section_of"]

ROOT: Final = Path(__file__).parents[1]

_HEADING: Final = re.compile(r"^## (?P<version>\S+) \(\d{4}-\d\d-\d\d\)$", re.MULTILINE)


@attrs.frozen
class Project:
    """The facts of ``pyproject.toml`` that others repeat.

    Attributes:
        name: The name of the distribution, ``ollama-push``.
        summary: One line.
        licence: An SPDX expression.
        python_floor: The lowest Python, such as ``3.11``.
        dependencies: Requirements of every install.
        extras: Requirements by the name of the extra.
        command: The program that an install brings.
        entry_point: What that runs, such as ``package.module:function``.
        build_requirements: What a build needs.
    """

    name: str
    summary: str
    licence: str
    python_floor: str
    dependencies: tuple[str, ...]
    extras: dict[str, tuple[str, ...]]
    command: str
    entry_point: str
    build_requirements: tuple[str, ...]

    @classmethod
    def read(cls, root: Path = ROOT) -> Self:
        """Read the file in *root*."""
        settings: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
        project = settings["project"]
        [(command, entry_point)] = project["scripts"].items()
        return cls(
            name=project["name"],
            summary=project["description"],
            licence=project["license"],
            python_floor=project["requires-python"].removeprefix(">="),
            dependencies=tuple(project["dependencies"]),
            extras={name: tuple(needed) for name, needed in project["optional-dependencies"].items()},
            command=command,
            entry_point=entry_point,
            build_requirements=tuple(settings["build-system"]["requires"]),
        )


def fragment_kinds(root: Path = ROOT) -> list[str]:
    """Return the kinds of changes that the changelog knows."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    return [kind["directory"] for kind in settings["tool"]["towncrier"]["type"]]


def is_fragment(name: str, kinds: Iterable[str]) -> bool:
    """Return whether a file of *name* will be collected: towncrier passes over what it does not know."""
    return re.fullmatch(rf"(?:\+[\w-]+|\d+)\.(?:{'|'.join(kinds)})\.md", name) is not None


def released_versions(changelog: str) -> list[str]:
    """Return the versions that *changelog* has a section of, the newest first."""
    return [heading["version"] for heading in _HEADING.finditer(changelog)]


def section_of(version: str, changelog: str) -> str | None:
    """Return what *changelog* says under the heading of *version*; ``None`` without such a heading."""
    headings = list(_HEADING.finditer(changelog))
    for number, heading in enumerate(headings):
        if heading["version"] == version:
            end = headings[number + 1].start() if number + 1 < len(headings) else len(changelog)
            return changelog[heading.end() : end].strip()
    return None
