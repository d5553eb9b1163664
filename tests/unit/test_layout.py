"""Every module has a test file of its name, or a line in ``tests/README.md`` that says where it is tested."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

_TESTS: Final = Path(__file__).parents[1]
_PACKAGE: Final = _TESTS.parent / "src" / "ollama_push"
_README: Final = (_TESTS / "README.md").read_text("utf-8")

_ROW: Final = re.compile(r"^\| `(?P<module>[\w/]+(?:\.py|/))` \| (?P<files>`[^|]+`) \|$", re.MULTILINE)
_HELPER: Final = re.compile(r"^- `(?P<name>\w+\.py)`: \S", re.MULTILINE)


def _elsewhere() -> dict[str, list[str]]:
    """Return the table of the README: module or folder, and the test files named for it."""
    return {row["module"]: re.findall(r"`([^`]+)`", row["files"]) for row in _ROW.finditer(_README)}


def _modules_with_logic() -> list[Path]:
    """Return the modules that define a function or a method, relative to the package."""
    return [
        path.relative_to(_PACKAGE)
        for path in sorted(_PACKAGE.rglob("*.py"))
        if any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    ]


def _has_own_file(module: Path) -> bool:
    """Whether a test file is named after *module*, in the mirrored folder or in that of its package's tests."""
    name = module.stem.strip("_")
    folders = (_TESTS / "unit" / module.parent, _TESTS / module.parent)
    return any(
        path.stem == f"test_{name}" or path.stem.startswith(f"test_{name}_")
        for folder in folders
        for path in folder.glob("test_*.py")
    )


def _row_for(module: Path, rows: dict[str, list[str]]) -> str | None:
    """Return the row that covers *module*: its own, or that of the nearest folder."""
    own = module.as_posix()
    folders = (f"{parent.as_posix()}/" for parent in module.parents)
    return next((row for row in (own, *folders) if row in rows), None)


def test_every_module_with_logic_has_a_place_where_it_is_tested() -> None:
    rows = _elsewhere()
    assert [
        module.as_posix()
        for module in _modules_with_logic()
        if not _has_own_file(module) and _row_for(module, rows) is None
    ] == []


def test_every_row_is_needed() -> None:
    rows = _elsewhere()
    needed = {_row_for(module, rows) for module in _modules_with_logic() if not _has_own_file(module)}
    assert sorted(rows.keys() - needed) == []


def test_every_row_names_test_files_that_exist() -> None:
    named = {name for files in _elsewhere().values() for name in files}
    assert [name for name in sorted(named) if not (_TESTS / name).is_file()] == []


def test_every_helper_is_listed_with_what_it_holds() -> None:
    listed = sorted(line["name"] for line in _HELPER.finditer(_README))
    assert listed == sorted(path.name for path in (_TESTS / "support").glob("*.py"))
