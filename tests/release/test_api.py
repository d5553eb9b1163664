"""A public name cannot vanish unseen: neither from the list that is committed, nor since the last release."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest
from release.api import LIST, breaking_changes, is_announced, main, public_names, vanished
from tests.support.source_trees import GIT, ROOT, committed, copied_tree, needs_git, small_package

import ollama_push

pytestmark = pytest.mark.slow

CLIENT: Final = "src/ollama_push/client.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return small_package(copied_tree(tmp_path / "tree", ("pyproject.toml", "changelog.d/README.md")))


def change(tree: Path, file: str, old: str, new: str) -> None:
    text = (tree / file).read_text("utf-8")
    assert old in text
    (tree / file).write_text(text.replace(old, new), "utf-8")


def test_no_public_name_is_gone() -> None:
    # If one must go: docs/deprecations.md, then "make api" and a fragment of the kind breaking.
    assert vanished() == []


def test_the_list_has_names_members_and_parameters() -> None:
    names = public_names()
    assert {f"ollama_push.{name}" for name in ollama_push.__all__} <= set(names)
    for line in (
        "ollama_push.client.PushClient.push(insecure)",
        "ollama_push.core.events.LayerProgress.completed",
        "ollama_push.core.errors.PushRejected",
        "ollama_push.testing.contract.run_contract",
    ):
        assert line in names
    assert [name for name in names if "._" in name and "__init__" not in name and "__version__" not in name] == []


def test_a_small_package_has_just_its_names(tree: Path) -> None:
    assert public_names(tree) == (tree / LIST).read_text("utf-8").splitlines()[1:]


@pytest.mark.parametrize(
    ("file", "old", "new", "gone"),
    [
        (CLIENT, "insecure: bool", "plain: bool", ["ollama_push.client.Client.push(insecure)"]),
        (CLIENT, "    limit: int = 1\n", "", ["ollama_push.client.Client.limit"]),
        (CLIENT, ', "LIMIT"', "", ["ollama_push.client.LIMIT"]),
        ("docs/reference.md", "::: ollama_push.client\n", "", ["ollama_push.client.LIMIT"]),
        ("src/ollama_push/__init__.py", '"Client"', "", ["ollama_push.Client"]),
    ],
)
def test_a_name_that_goes_is_seen(tree: Path, file: str, old: str, new: str, gone: list[str]) -> None:
    change(tree, file, old, new)
    assert vanished(tree) == gone


def test_a_new_name_breaks_nobody(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(tree, CLIENT, "insecure: bool = False", "insecure: bool = False, newer: int = 1")
    assert main([], tree) == 0
    assert capsys.readouterr().out == "nothing has vanished\n"


def test_the_list_is_written_anew(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (tree / LIST).read_text("utf-8")
    (tree / LIST).write_text("# old\nollama_push.Gone\n", "utf-8")
    assert main([], tree) == 1
    assert capsys.readouterr().out == "ollama_push.Gone\n"
    assert main(["--write"], tree) == 0
    assert (tree / LIST).read_text("utf-8").splitlines()[1:] == before.splitlines()[1:]


@needs_git
@pytest.mark.process
def test_a_change_since_a_tag_must_be_announced(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    committed(tree, "v7.8.9")
    assert breaking_changes("v7.8.9", tree) == []
    change(tree, CLIENT, "insecure: bool = False", "insecure: bool")
    # No part of the public names.
    change(tree, "src/ollama_push/__init__.py", "_private(a: int)", "_private(b: int)")
    assert main(["--since", "v7.8.9"], tree) == 1
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1
    assert told[0].endswith("Client.push(insecure): Parameter is now required")
    (tree / "changelog.d" / "+insecure.breaking.md").write_text("It must be said.\n", "utf-8")
    assert is_announced(tree)
    assert main(["--since", "v7.8.9"], tree) == 0


@needs_git
@pytest.mark.process
def test_what_breaks_the_last_release_is_announced() -> None:
    if GIT is None or not (ROOT / ".git").exists():
        pytest.skip("no repository: the releases are not known")
    command = [GIT, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"]
    last = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    if not last:
        pytest.skip("nothing has been released")
    assert breaking_changes(last) == [] or is_announced()
