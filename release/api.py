"""Keeps the list of public names (``python -m release.api [--write | --since TAG]``, make api): none may vanish unseen.

Public is what the package exports and ``docs/reference.md`` shows. griffe reads the source; nothing is imported. The
list has a line for each name, each member of a class, and each parameter, so that a line that is gone is a change that
breaks someone, and a line that is new breaks nobody.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import griffe

from release.facts import ROOT, fragment_kinds, is_fragment

__all__ = ["LIST", "breaking_changes", "is_announced", "main", "public_names", "vanished"]

LIST: Final = Path("tests/data/public_api.txt")
"""Relative to the root."""

_PACKAGE: Final = "ollama_push"
_SHOWN: Final = re.compile(r"^::: (\S+)$", re.MULTILINE)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_HEAD: Final = "# Public names. A line may go only with a breaking change: docs/deprecations.md. Made by: make api\n"


def public_names(root: Path = ROOT) -> list[str]:
    """Return what the tree in *root* offers, sorted: ``module.Class.method`` and ``module.Class.method(parameter)``."""
    package = _loaded(root)
    shown = _SHOWN.findall((root / "docs" / "reference.md").read_text("utf-8"))
    names = {f"{_PACKAGE}.{name}" for name in _exports(package)}
    for path in shown:
        found = package[path.removeprefix(f"{_PACKAGE}.")]
        names.update(_module_lines(path, found) if found.is_module else _lines(path, found))
    return sorted(names)


def _loaded(root: Path) -> griffe.Object | griffe.Alias:
    # Without inspection, griffe runs nothing of ours.
    return griffe.load(_PACKAGE, search_paths=[root / "src"], allow_inspection=False, resolve_aliases=True)


def _exports(module: griffe.Object | griffe.Alias) -> list[str]:
    return [str(name) for name in module.exports or ()]


def _module_lines(path: str, module: griffe.Object | griffe.Alias) -> Iterator[str]:
    for name in _exports(module):
        yield from _lines(f"{path}.{name}", module[name])


def _lines(path: str, found: griffe.Object | griffe.Alias) -> Iterator[str]:
    yield path
    parameters: Iterable[griffe.Parameter] = getattr(found, "parameters", ()) if found.is_function else ()
    yield from (f"{path}({parameter.name})" for parameter in parameters if parameter.name not in {"self", "cls"})
    if found.is_class:
        for name, member in sorted(found.all_members.items()):
            if name == "__init__" or not name.startswith("_"):
                yield from _lines(f"{path}.{name}", member)


def _listed(root: Path) -> list[str]:
    return [line for line in (root / LIST).read_text("utf-8").splitlines() if line and not line.startswith("#")]


def vanished(root: Path = ROOT) -> list[str]:
    """Return the lines of the committed list that the tree no longer offers."""
    return sorted(set(_listed(root)) - set(public_names(root)))


def breaking_changes(tag: str, root: Path = ROOT) -> list[str]:
    """Return what griffe finds in *root* that breaks those who use public names of the commit of *tag*, a line each."""
    old = griffe.load_git(
        _PACKAGE, ref=tag, repo=root, search_paths=["src"], allow_inspection=False, resolve_aliases=True
    )
    homes = set(_homes(old, root))
    found = griffe.find_breaking_changes(old, _loaded(root))
    return sorted(
        {
            _COLOUR.sub("", change.explain(style=griffe.ExplanationStyle.ONE_LINE))
            for change in found
            if change.obj.canonical_path in homes or change.obj.canonical_path.rpartition(".")[0] in homes
        }
    )


def _homes(package: griffe.Object | griffe.Alias, root: Path) -> Iterator[str]:
    """Yield where *package* defines the public names that it has."""
    for name in _listed(root):
        if "(" not in name:
            with contextlib.suppress(KeyError):
                yield package[name.removeprefix(f"{_PACKAGE}.")].canonical_path


def is_announced(root: Path = ROOT) -> bool:
    """Return whether a fragment tells users of a change that breaks something."""
    kinds = [kind for kind in fragment_kinds(root) if kind == "breaking"]
    return any(is_fragment(file.name, kinds) for file in (root / "changelog.d").iterdir())


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Compare, or write the list; return 1 when something vanished that no fragment announces."""
    parser = argparse.ArgumentParser(prog="python -m release.api")
    parser.add_argument("--write", action="store_true", help="write the list anew")
    parser.add_argument("--since", metavar="TAG", help="say what breaks those who use that release")
    options = parser.parse_args(arguments)
    if options.write:
        (root / LIST).write_text(_HEAD + "".join(f"{name}\n" for name in public_names(root)), "utf-8")
        return 0
    lines = breaking_changes(options.since, root) if options.since else vanished(root)
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "nothing has vanished\n")
    return int(bool(lines) and not (options.since and is_announced(root)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
