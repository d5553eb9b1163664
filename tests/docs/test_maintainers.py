"""What maintainers are told is true: paths, modules and targets exist, forms are valid, fragments can be collected."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from release.facts import fragment_kinds, is_fragment

from ollama_push.contrib.metrics import METRICS
from ollama_push.contrib.metrics.catalogue import PULL_METRICS

ROOT: Final = Path(__file__).parents[2]
GUIDES: Final = (ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "changelog.d" / "README.md")
READMES: Final = (ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "bench" / "README.md")
PAGES: Final = (*GUIDES, *READMES, *sorted((ROOT / "docs").rglob("*.md")))
INDENTED: Final = re.compile(r"^ {0,3}```.*?^ {0,3}```$", re.MULTILINE | re.DOTALL)
PATH: Final = re.compile(
    r"(?:\.github|src|tests|docs|bench|deploy|examples|changelog\.d)/[\w./+-]*|[\w.-]+\.(?:toml|md|ya?ml)"
)
MADE_UP: Final = re.compile(r"NAME|KIND|/\+|X\.Y\.Z")
NO_MODULES: Final = {"ollama_push.hooks", *(metric.name for metric in (*METRICS, *PULL_METRICS))}
"""A logger, and names in OpenTelemetry."""
TARGETS: Final = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def quoted(page: Path) -> list[str]:
    """Return what stands between backticks in the page's text, without its blocks of code."""
    return re.findall(r"`([^`\n]+)`", INDENTED.sub("", page.read_text("utf-8")))


def modules_named(page: Path) -> Iterator[str]:
    """Yield dotted names; in a table's cell, ``a.b.c`` followed by ``d`` means ``a.b.d``, too."""
    for cell in re.split(r"[|\n]", INDENTED.sub("", page.read_text("utf-8"))):
        package = ""
        for name in re.findall(r"`([^`]+)`", cell):
            if re.fullmatch(r"ollama_push(?:\.\w+)+", name) and name not in NO_MODULES:
                package = name.rpartition(".")[0]
                yield name
            elif package and page.stem == "architecture" and re.fullmatch(r"[a-z_]+", name):
                yield f"{package}.{name}"


def exists(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, attribute = name.rpartition(".")
        return bool(parent) and exists(parent) and hasattr(importlib.import_module(parent), attribute)
    return True


def form(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text("utf-8"))
    return loaded


@pytest.mark.parametrize("page", [*GUIDES, *READMES], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_exists(page: Path) -> None:
    named = {text for text in quoted(page) if PATH.fullmatch(text) and not MADE_UP.search(text)}
    assert sorted(path for path in named if not ((ROOT / path).exists() or (page.parent / path).exists())) == []


@pytest.mark.parametrize("page", [*GUIDES, *READMES], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
    assert sorted(link for link in links if not (page.parent / link).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_module_exists(page: Path) -> None:
    assert sorted({name for name in modules_named(page) if not exists(name)}) == []


@pytest.mark.parametrize("page", sorted((ROOT / "changelog.d").glob("*.breaking.md")), ids=lambda page: page.name)
def test_what_a_fragment_says_is_now_exists(page: Path) -> None:
    rows = re.findall(r"^\|.*\|(.*)\|$", page.read_text("utf-8"), re.MULTILINE)
    named = [name for cell in rows for name in re.findall(r"`(ollama_push[\w.]*)`", cell)]
    assert sorted({name for name in named if not exists(name)}) == []


def test_there_are_modules_and_paths_to_check() -> None:
    assert len(set(modules_named(ROOT / "docs" / "architecture.md"))) > 50
    assert len(set(modules_named(ROOT / "docs" / "glossary.md"))) > 30
    assert sum(bool(PATH.fullmatch(text)) for text in quoted(ROOT / "CONTRIBUTING.md")) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_target_exists(page: Path) -> None:
    asked = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
    assert sorted(set(asked) - set(TARGETS)) == []


@pytest.mark.process
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_old_python_is_told_before_anything_is_made(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ntest "$1" = --version && echo "Python 3.9.2" || exit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"Python 3.11 or later is needed, and {old} is Python 3.9.2; with another one: make demo PYTHON=python3.12"
    )
    assert not (tmp_path / ".venv").exists()


def test_hooks_for_git_call_targets_and_download_nothing() -> None:
    [repository] = form(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program, target = hook["entry"].split()
        assert (program, hook["language"]) == ("make", "system")
        assert target in TARGETS


@pytest.mark.parametrize("name", ["bug", "registry", "feature"])
def test_forms_for_issues_have_what_github_asks_for(name: str) -> None:
    found = form(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert found["name"]
    assert found["description"]
    identities = [part["id"] for part in found["body"] if part["type"] != "markdown"]
    assert len(set(identities)) == len(identities) > 0
    for part in found["body"]:
        assert part["type"] in {"markdown", "dropdown", "input", "textarea"}
        assert part["attributes"].get("label") or part["type"] == "markdown"


def test_every_fragment_is_collected() -> None:
    fragments = {file for file in (ROOT / "changelog.d").iterdir() if file.name != "README.md"}
    assert [file.name for file in fragments if not is_fragment(file.name, fragment_kinds())] == []
    done = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "next"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert [file.name for file in fragments if file.read_text("utf-8").partition("\n")[0] not in done.stdout] == []
