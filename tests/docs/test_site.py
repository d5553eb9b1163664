"""The site: broken links stop its build, it keeps the versions before, and its successor's tool can build it, too."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.support.source_trees import ROOT, committed, copied_tree, git, needs_git

pytestmark = pytest.mark.slow

MAKEFILE: Final = (ROOT / "Makefile").read_text("utf-8")
ROLE: Final = re.compile(r":(?:class|meth|func|attr|exc|mod|data):(?=[`<])")
SMALL: Final = """site_name: small
theme:
  name: material
  font: false
use_directory_urls: false
plugins: []
extra:
  version:
    provider: mike
"""


needs_mkdocs = pytest.mark.skipif(importlib.util.find_spec("mike") is None, reason="mike is not installed: group docs")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # mike looks there for mkdocs
        "HOME": str(folder),
        "NO_MKDOCS_2_WARNING": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a site of one page."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Small\n", "utf-8")
    (tmp_path / "mkdocs.yml").write_text(SMALL, "utf-8")
    return tmp_path


@needs_mkdocs
@pytest.mark.process
@pytest.mark.parametrize("link", ["[x](nowhere.md)", "![x](nowhere.png)", "[x](other.md#nowhere)"])
def test_a_broken_link_stops_the_build(small: Path, link: str) -> None:
    [flags] = re.findall(r"^docs:.*\n\t.*bin/mkdocs (build.*)|^docs:.*\n\t.*/mkdocs (build.*)$", MAKEFILE, re.MULTILINE)
    command = ["-m", "mkdocs", *shlex.split("".join(flags))]
    (small / "mkdocs.yml").write_text(f"{SMALL}validation:\n  anchors: warn\n", "utf-8")
    (small / "docs" / "other.md").write_text("# Other\n\n[back](index.md)\n", "utf-8")
    done = run(small, *command)
    assert done.returncode == 0, done.stderr
    (small / "docs" / "index.md").write_text(f"# Small\n\n{link}\n", "utf-8")
    done = run(small, *command)
    assert done.returncode != 0
    assert "nowhere" in done.stderr


def test_our_pages_are_checked_for_anchors() -> None:
    assert "validation:\n  anchors: warn\n" in (ROOT / "mkdocs.yml").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.process
@needs_git
@needs_mkdocs
def test_a_version_of_the_pages_joins_those_before(small: Path) -> None:
    committed(small)
    for version, alias in (("0.1", "latest"), ("0.2", "latest"), ("0.3", "next")):
        (small / "docs" / "index.md").write_text(f"# Of {version}\n", "utf-8")
        done = run(small, "-c", "from mike.driver import main; main()", "deploy", "--update-aliases", version, alias)
        assert done.returncode == 0, done.stderr
    listed = json.loads(git(small, "show", "gh-pages:versions.json"))
    assert {each["version"]: each["aliases"] for each in listed} == {"0.3": ["next"], "0.2": ["latest"], "0.1": []}
    for version in ("0.1", "0.2", "0.3"):
        assert f"Of {version}" in git(small, "show", f"gh-pages:{version}/index.html")
    assert git(small, "status", "--short", "docs").split() == ["M", "docs/index.md"], "the tree stays as it was"


def test_roles_are_no_part_of_the_pages(tmp_path: Path) -> None:
    griffe = pytest.importorskip("griffe", reason="griffe is not installed: group docs")
    roles = importlib.import_module("docs.docstring_roles")
    code = 'def some():\n    """See :class:`~a.B` and :meth:`c`; a :ref:`kept` one, and ``:class:`` as text."""\n'
    (tmp_path / "some.py").write_text(code, "utf-8")
    extensions = griffe.load_extensions(roles.DocstringRoles)
    docstring = griffe.load("some", search_paths=[tmp_path], extensions=extensions)["some"].docstring
    assert docstring is not None
    assert docstring.value == "See `~a.B` and `c`; a :ref:`kept` one, and ``:class:`` as text."


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="zensical is not installed: group docs")
def test_the_successor_of_our_tool_builds_the_same_pages(tmp_path: Path) -> None:
    tree = copied_tree(tmp_path / "tree")
    code = "import sys; from zensical.main import cli; sys.exit(cli(['build', '--clean', '--strict']))"
    done = run(tree, "-c", code)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tree / "site" / "reference.html").read_text("utf-8")
    assert 'id="ollama_push.client.PushClient.push"' in reference
    assert ROLE.findall(reference) == []
    pages = {page.relative_to(tree / "docs").with_suffix(".html") for page in (tree / "docs").rglob("*.md")}
    assert [page for page in sorted(pages) if not (tree / "site" / page).exists()] == []
