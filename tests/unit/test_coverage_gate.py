"""The gate counts lines and branches of each package, and fails by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from tests.coverage_gate import main, shares

_ROOT: Final = Path(__file__).parents[2] / "src" / "ollama_push"
_PACKAGES: Final = sorted(folder.parent.name for folder in _ROOT.glob("*/__init__.py"))


def _report(*files: tuple[str, int, int, int, int]) -> dict[str, Any]:
    """Return what ``coverage json`` writes: lines run and there, branches taken and there."""
    keys = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    return {"files": {str(_ROOT / name): {"summary": dict(zip(keys, counts, strict=True))} for name, *counts in files}}


def _whole(**lines: int) -> dict[str, Any]:
    """Return a report in which all is run but what *lines* says of a package, of 100 lines."""
    return _report(*((f"{package}/__init__.py", lines.get(package, 100), 100, 0, 0) for package in _PACKAGES))


def test_a_share_is_of_lines_and_branches_of_all_files_of_a_package() -> None:
    report = _report(
        ("local/store.py", 8, 10, 3, 10), ("local/resume/store.py", 10, 10, 9, 10), ("_exports.py", 1, 2, 0, 0)
    )
    assert shares(report) == {"local": 75.0, "the root": 50.0}


def test_what_is_covered_well_enough_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(_whole(gateway=95)))
    assert main(str(path)) == 0
    assert " 95.00 %  gateway\n" in capsys.readouterr().out


def test_a_package_that_is_covered_too_little_is_named_with_its_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(_whole(cli=94)))
    assert main(str(path)) == 1
    assert capsys.readouterr().err.startswith("error: cli has 94.00 %; 95 %")


def test_a_package_that_was_not_measured_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _whole()
    del report["files"][str(_ROOT / "client" / "__init__.py")]
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report))
    assert main(str(path)) == 1
    assert capsys.readouterr().err.startswith("error: client was not measured")
