"""Which lines of the core a change touches: what CI mutates."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Final

from tests.mutants.mutations import CORE, ROOT

# Where there is neither a branch to compare with nor a tag. A shallow clone has fewer.
_COMMITS: Final = 10

_CORE: Final = CORE.relative_to(ROOT).as_posix()
_HUNK: Final = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")


def head(root: Path = ROOT) -> str:
    """Return the commit that is checked out."""
    return _git(root, "rev-parse", "HEAD")


def base(root: Path = ROOT) -> str | None:
    """Return the commit to compare with: where we left ``origin/main``, else the last tag, else some commits ago.

    Returns:
        None when there is no earlier commit, as in a clone of depth 1.
    """
    for found in (
        _git(root, "merge-base", "HEAD", "origin/main"),
        _git(root, "describe", "--tags", "--abbrev=0", "HEAD^"),
    ):
        if found and found != head(root):
            return found
    for commits in range(_COMMITS, 0, -1):
        if found := _git(root, "rev-parse", "--verify", "--quiet", f"HEAD~{commits}"):
            return found
    return None


def changed_lines(since: str, root: Path = ROOT) -> dict[Path, set[int]]:
    """Return the changed lines of each module of the core that is there, since a commit; uncommitted ones count."""
    found: dict[Path, set[int]] = defaultdict(set)
    file = None
    for line in _git(root, "diff", "--unified=0", "--no-color", "--no-ext-diff", since, "--", _CORE).splitlines():
        if line.startswith("+++ "):
            path = root / line.removeprefix("+++ ").removeprefix("b/")
            file = path if path.suffix == ".py" and path.exists() else None
        elif file and (hunk := _HUNK.match(line)):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            found[file].update(range(first, first + max(count, 1)))
    return found


def _git(root: Path, *arguments: str) -> str:
    """Return what git says, or nothing where it has no answer."""
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
