"""The version is that of the tag, wherever and however the tree was obtained; and there always is one."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.support.source_trees import ROOT, committed, copied_tree, git, needs_git, python, version_built

pytestmark = pytest.mark.slow

MADE = Path("src/ollama_push/core/_version.py")
NEEDED = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    ".git",
    "src/ollama_push/__init__.py",
    "src/ollama_push/_exports.py",
    "src/ollama_push/core/version.py",
    "src/ollama_push/core/__init__.py",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return what a build cannot do without."""
    return copied_tree(tmp_path / "tree", NEEDED)


def unpacked(archive: bytes, folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def archived(tree: Path, what: str) -> bytes:
    """Return what GitHub offers for download: its archives are made by ``git archive``."""
    done = subprocess.run(["git", "archive", "--format=tar", what], cwd=tree, capture_output=True, check=True)
    return done.stdout


@needs_git
def test_a_tag_is_the_version(tree: Path) -> None:
    assert version_built(committed(tree, "v7.8.9")) == "7.8.9"


@needs_git
def test_a_commit_after_a_tag_comes_before_the_next_release(tree: Path) -> None:
    committed(tree, "v7.8.9")
    git(tree, "commit", "--quiet", "--allow-empty", "--message=more")
    _, _, commit = version_built(tree).partition("7.8.10.dev1+g")
    assert len(commit) > 6
    assert git(tree, "rev-parse", "HEAD").startswith(commit)


@needs_git
def test_other_tags_are_no_versions(tree: Path) -> None:
    committed(tree, "v7.8.9")
    git(tree, "tag", "docs-9.9.9")
    git(tree, "tag", "vendored")
    assert version_built(tree) == "7.8.9"


@needs_git
def test_a_clone_without_tags_is_older_than_every_release(tree: Path, tmp_path: Path) -> None:
    committed(tree, "v7.8.9")
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-tags", tree.as_uri(), "shallow")
    _, _, commit = version_built(tmp_path / "shallow").partition("0.0.1.dev1+g")
    assert len(commit) > 6
    assert git(tree, "rev-parse", "HEAD").startswith(commit)


@needs_git
def test_an_archive_of_a_tag_says_which(tree: Path, tmp_path: Path) -> None:
    archive = archived(committed(tree, "v7.8.9"), "v7.8.9")
    assert version_built(unpacked(archive, tmp_path / "archive"), path="") == "7.8.9"


@needs_git
def test_an_archive_of_a_later_commit_says_after_which_tag(tree: Path, tmp_path: Path) -> None:
    committed(tree, "v7.8.9")
    git(tree, "commit", "--quiet", "--allow-empty", "--message=more")
    assert version_built(unpacked(archived(tree, "main"), tmp_path / "archive"), path="").startswith("7.8.10.dev1+g")


@needs_git
def test_a_clone_on_a_machine_without_git_builds(tree: Path) -> None:
    assert version_built(committed(tree, "v7.8.9"), path="") == "0.0.0"


def test_a_builder_without_git_may_say_the_version(tree: Path) -> None:
    [name] = re.findall(r"^ENV (\w+)=\$\{VERSION\}$", (ROOT / "deploy" / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert version_built(tree, path="", more={name: "7.8.9"}) == "7.8.9"


def test_a_tree_that_nobody_can_date_builds(tree: Path) -> None:
    assert version_built(tree, path="") == "0.0.0"


@needs_git
def test_a_tree_inside_another_repository_does_not_take_its_version(tree: Path) -> None:
    committed_outside = tree.parent
    git(committed_outside, "init", "--quiet")
    git(committed_outside, "commit", "--quiet", "--allow-empty", "--message=other")
    git(committed_outside, "tag", "v99.0.0")
    assert version_built(tree) == "0.0.0"


@pytest.mark.slow
@pytest.mark.process
@needs_git
def test_an_editable_install_and_an_sdist_of_it_have_the_tags_version(tree: Path, tmp_path: Path) -> None:
    committed(tree, "v7.8.9")
    build = "import hatchling.build as b, sys; print(b.build_editable(sys.argv[1]), b.build_sdist(sys.argv[1]))"
    wheel, sdist = python(tree, "-c", build, str(tmp_path)).split()
    assert wheel.startswith("ollama_push-7.8.9-")
    assert (tree / MADE).read_text("utf-8").endswith('VERSION = "7.8.9"\n')
    read = "import sys; sys.path.insert(0, 'src'); import ollama_push; print(ollama_push.__version__)"
    assert python(tree, "-c", read) == "7.8.9\n"
    folder = unpacked((tmp_path / sdist).read_bytes(), tmp_path / "sdist") / "ollama_push-7.8.9"
    assert (folder / MADE).read_text("utf-8") == (tree / MADE).read_text("utf-8")
    assert version_built(folder, path="") == "7.8.9"
