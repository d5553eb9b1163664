"""The changelog of a release: fragments become its section, the section its notes, and the recipes name it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from release.api import LIST
from release.facts import fragment_kinds, is_fragment, released_versions, section_of
from tests.support.source_trees import ROOT, copied_tree, small_package

from release import notes, prepare

pytestmark = pytest.mark.slow

TWO: Final = """# Changelog

<!-- releases -->

## 1.10.0 (2026-11-29)

### Fixes

- Newer.

## 1.1.0 (2026-10-01)

- Older: ## 1.10.0 is no heading here.
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the files that a release changes, and no git: towncrier would ask it to remove the fragments."""
    tree = copied_tree(tmp_path / "tree", ("pyproject.toml", "CHANGELOG.md", "changelog.d", "deploy"))
    return small_package(tree)


def test_notes_are_the_section_of_that_version_alone() -> None:
    assert released_versions(TWO) == ["1.10.0", "1.1.0"]
    assert section_of("1.10.0", TWO) == "### Fixes\n\n- Newer."
    assert section_of("1.1.0", TWO) == "- Older: ## 1.10.0 is no heading here."
    assert section_of("1.1", TWO) is None


def test_a_release_turns_fragments_into_notes_and_recipes(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fragment = next(file for file in sorted((tree / "changelog.d").iterdir()) if file.suffixes[-2:] == [".fix", ".md"])
    words = fragment.read_text("utf-8").partition("\n")[0]
    assert prepare.main(["7.8.9"], tree) == 0
    assert [file.name for file in (tree / "changelog.d").iterdir()] == ["README.md"]
    images = {
        image
        for file in (tree / "deploy").iterdir()
        for image in re.findall(r"/ollama-push:\S+", file.read_text("utf-8"))
    }
    assert images == {"/ollama-push:7.8.9"}
    capfd.readouterr()
    assert notes.main(["v7.8.9"], tree) == 0
    printed = capfd.readouterr().out
    assert words in printed
    assert "<!-- releases -->" not in printed
    assert "## 7.8.9" not in printed


def test_sections_have_the_names_and_the_order_of_the_kinds(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for file in (tree / "changelog.d").iterdir():
        file.unlink()
    for kind in fragment_kinds():
        (tree / "changelog.d" / f"+one.{kind}.md").write_text(f"Of {kind}.\n", "utf-8")
    assert prepare.main(["7.8.9"], tree) == 0
    capfd.readouterr()
    notes.main(["7.8.9"], tree)
    assert re.findall(r"Of (\w+)\.", capfd.readouterr().out) == fragment_kinds()


def test_notes_of_a_version_that_is_not_there_fail_and_say_what_is(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tree / "CHANGELOG.md").write_text(TWO, "utf-8")
    assert notes.main(["v2.0.0"], tree) == 1
    assert capfd.readouterr() == ("", "CHANGELOG.md has no section of 2.0.0; it has: 1.10.0, 1.1.0\n")


@pytest.mark.parametrize("arguments", [[], [""], ["1.0.0", "2.0.0"]])
def test_a_version_must_be_named(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert (notes.main(arguments), prepare.main(arguments)) == (2, 2)
    assert "usage" in capfd.readouterr().err


@pytest.mark.parametrize(
    "version", ["v7.8.9", "7.8", "7.8.9.dev1", "7.8.9+local", "latest", "1.10.0", "1.9.9", "1.10.0rc1"]
)
def test_what_is_no_next_release_changes_nothing(tree: Path, version: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tree / "CHANGELOG.md").write_text(TWO, "utf-8")
    before = sorted((tree / "changelog.d").iterdir())
    assert prepare.main([version], tree) == 1
    assert version in capfd.readouterr().err
    assert sorted((tree / "changelog.d").iterdir()) == before
    assert (tree / "CHANGELOG.md").read_text("utf-8") == TWO


def test_a_fragment_of_an_unknown_kind_stops_a_release(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tree / "changelog.d" / "+lost.bugfix.md").write_text("Nobody would read this.\n", "utf-8")
    assert prepare.main(["7.8.9"], tree) == 1
    assert "+lost.bugfix.md" in capfd.readouterr().err


def test_a_public_name_that_is_gone_must_be_announced(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for file in (tree / "changelog.d").glob("*.breaking.md"):
        file.unlink()
    (tree / LIST).write_text((tree / LIST).read_text("utf-8") + "ollama_push.RemovedClient\n", "utf-8")
    assert prepare.main(["7.8.9"], tree) == 1
    assert capfd.readouterr().err.splitlines()[1:] == ["ollama_push.RemovedClient"]
    (tree / "changelog.d" / "+removed.breaking.md").write_text("`ollama_push.RemovedClient` is gone.\n", "utf-8")
    assert prepare.main(["7.8.9"], tree) == 0
    assert "RemovedClient" not in (tree / LIST).read_text("utf-8")


def test_without_changes_there_is_no_release(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for file in (tree / "changelog.d").iterdir():
        if file.name != "README.md":
            file.unlink()
    assert prepare.main(["7.8.9"], tree) == 1
    assert "no fragments" in capfd.readouterr().err


def test_the_guide_names_the_kinds_that_are_collected() -> None:
    guide = (ROOT / "changelog.d" / "README.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE) == fragment_kinds()


@pytest.mark.parametrize(
    ("name", "known"),
    [("+words.fix.md", True), ("18.feature.md", True), ("words.fix.md", False), ("+words.bugfix.md", False),
     ("+words.md", False), ("+words.fix.rst", False), ("+words.fix.md.orig", False)],
)  # fmt: skip
def test_a_fragment_has_a_name_and_a_kind(name: str, *, known: bool) -> None:
    assert is_fragment(name, fragment_kinds()) is known
