"""Which mutants a module has, and that the list of those that survive names mutants."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.mutants.mutations import CORE, ROOT, mutants_of
from tests.mutants.survivors import listed

_UNITS = CORE / "units.py"
_OFFERS = CORE / "registry" / "blob_upload" / "offers.py"


@pytest.mark.parametrize("path", [_UNITS, _OFFERS], ids=lambda path: path.stem)
def test_every_mutant_is_another_module_that_compiles(path: Path) -> None:
    source = path.read_text("utf-8")
    tree = ast.dump(ast.parse(source))
    mutants = mutants_of(path)
    assert len(mutants) > 20
    for mutant in mutants:
        assert ast.dump(ast.parse(mutant.applied_to(source))) != tree, mutant


@pytest.mark.parametrize("path", [_UNITS, _OFFERS], ids=lambda path: path.stem)
def test_a_mutant_is_named_by_what_stands_there(path: Path) -> None:
    joined = " ".join(line.strip() for line in path.read_text("utf-8").split("\n"))
    for mutant in mutants_of(path):
        assert mutant.line != mutant.becomes
        assert mutant.path == path.relative_to(ROOT).as_posix()
        assert mutant.number in mutant.lines
        assert mutant.line in joined


def test_decorated_functions_and_fields_and_tables_are_mutated() -> None:
    mutants = mutants_of(_OFFERS)
    scopes = {mutant.scope for mutant in mutants if not mutant.at_import}
    assert "DirectOffer.of" in scopes, "a class method"
    assert any(mutant.at_import and mutant.scope == "module" for mutant in mutants), "constants"
    assert any(mutant.at_import and mutant.scope == "DirectOffer" for mutant in mutants), "fields"


def test_annotations_and_docstrings_and_imports_are_not() -> None:
    for mutant in mutants_of(_OFFERS):
        assert not mutant.line.startswith(("import ", "from ", '"""', "@", "__all__")), mutant


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(listed().settled))
def test_every_listed_survivor_is_still_a_mutant(path: str) -> None:
    assert listed().stale(mutants_of(ROOT / path)) == []


def test_every_listed_survivor_has_a_reason() -> None:
    for key, why in listed().reasons.items():
        assert len(why) > 10, key
