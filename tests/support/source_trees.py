"""Copies of this tree, with and without git, and what the build makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
GIT: Final = shutil.which("git")
needs_git: Final = pytest.mark.skipif(GIT is None, reason="git is not installed")
_IDENTITY: Final = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
_ARCHIVAL: Final = {
    "node": "$Format:%H$",
    "node-date": "$Format:%cI$",
    "describe-name": "$Format:%(describe:tags=true,match=v[0-9]*)$",
}
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", "_version.py", "site", "dist", ".*_cache", ".hypothesis", ".coverage*"
)


def copied_tree(target: Path, starts: tuple[str, ...] = ("",)) -> Path:
    """Copy the files whose names begin with one of *starts*, and return the copy."""
    for name in (name for name in source_files() if name.startswith(starts)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    archival = target / ".git_archival.txt"
    if archival.exists():
        # In a tree that came as an archive, git has written into it which commit that was.
        fields = dict(line.split(": ", 1) for line in archival.read_text("utf-8").splitlines())
        archival.write_text("".join(f"{name}: {_ARCHIVAL.get(name, '')}\n" for name in fields), "utf-8")
    return target


def source_files() -> list[str]:
    """Return the names of the files that git tracks, or would; in an unpacked sdist, of all that it brought."""
    listed = _listed()
    if listed is None:
        names = (file.relative_to(ROOT).as_posix() for file in _walked(ROOT))
        # It says what was built, not what is in the tree.
        return sorted(name for name in names if name != "PKG-INFO")
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _listed() -> str | None:
    """Return what git lists; ``None`` without it, and in a tree that is none of its repositories or another user's."""
    if GIT is None or not (ROOT / ".git").exists():
        return None
    done = subprocess.run(
        [GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if done.returncode else done.stdout


def _walked(folder: Path) -> Iterator[Path]:
    names = [entry.name for entry in folder.iterdir()]
    for name in sorted(set(names) - _LEFT_OUT(str(folder), names)):
        yield from _walked(folder / name) if (folder / name).is_dir() else [folder / name]


def small_package(tree: Path) -> Path:
    """Put a package of one client into *tree*, with its page and its list of public names: quickly read."""
    for name, text in {
        "src/ollama_push/__init__.py": (
            'from ollama_push.client import Client\n\n__all__ = ["Client"]\n\ndef _private(a: int) -> None: ...\n'
        ),
        "src/ollama_push/client.py": (
            '__all__ = ["Client", "LIMIT"]\n\nLIMIT = 5\n\n\nclass Client:\n    limit: int = 1\n\n'
            "    def push(self, model: str, *, insecure: bool = False) -> None: ...\n"
        ),
        "docs/reference.md": "::: ollama_push.client.Client\n::: ollama_push.client\n",
        "tests/data/public_api.txt": (
            "# Public names.\nollama_push.Client\nollama_push.client.Client\nollama_push.client.Client.limit\n"
            "ollama_push.client.Client.push\nollama_push.client.Client.push(insecure)\n"
            "ollama_push.client.Client.push(model)\nollama_push.client.LIMIT\n"
        ),
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, "utf-8")
    return tree


def git(tree: Path, *arguments: str) -> str:
    """Run git in *tree*, with nothing of the user's configuration, and return what it printed."""
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *_IDENTITY, *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def committed(tree: Path, tag: str = "") -> Path:
    """Make *tree* a repository of one commit, and tag that."""
    git(tree, "init", "--quiet", "--initial-branch=main")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=all")
    if tag:
        git(tree, "tag", tag)
    return tree


def python(
    tree: Path, *arguments: str, path: str | None = None, epoch: int = 1_700_000_000, more: Mapping[str, str] = {}
) -> str:
    """Run this Python in *tree* with little of the environment, and *more*; *path* is where it looks for programs."""
    environment = {"PATH": os.environ["PATH"] if path is None else path, "SOURCE_DATE_EPOCH": str(epoch), **more}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version_built(tree: Path, path: str | None = None, more: Mapping[str, str] = {}) -> str:
    """Return the version that a build of *tree* gets."""
    return python(tree, "-m", "hatchling", "version", path=path, more=more).strip()
