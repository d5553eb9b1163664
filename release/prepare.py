"""Makes the changes that a release is: ``python -m release.prepare X.Y.Z`` (``make release VERSION=X.Y.Z``).

The fragments of ``changelog.d`` become a section of ``CHANGELOG.md``, the recipes of ``deploy`` name the new image, and
the list of public names is written anew, if what vanished since the last release is announced. Nothing is committed or
tagged: people look at it first.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from packaging.version import Version

from release import api
from release.facts import ROOT, fragment_kinds, is_fragment, released_versions

__all__ = ["main"]

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+(?:rc\d+)?")
_IMAGE: Final = re.compile(r"(?<=/ollama-push:)\S+$", re.MULTILINE)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Prepare the release; return 1 when it cannot be one, 2 for wrong arguments."""
    if len(arguments) != 1 or not arguments[0]:
        sys.stderr.write("usage: python -m release.prepare X.Y.Z\n")
        return 2
    [version] = arguments
    problem = _problem(version, root)
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
        return 1
    api.main(["--write"], root)
    subprocess.run([sys.executable, "-m", "towncrier", "build", "--yes", "--version", version], cwd=root, check=True)
    for recipe in sorted((root / "deploy").iterdir()):
        before = recipe.read_text("utf-8")
        after = _IMAGE.sub(version, before)
        if after != before:
            recipe.write_text(after, "utf-8")
    sys.stdout.write(
        f"look at it, commit it as 'Release {version}', and tag that commit v{version}: see docs/release.md\n"
    )
    return 0


def _problem(version: str, root: Path) -> str | None:
    """Return why *version* cannot be released."""
    if not _VERSION.fullmatch(version):
        return f"{version!r} is no version of a release: X.Y.Z, or X.Y.ZrcN"
    for released in released_versions((root / "CHANGELOG.md").read_text("utf-8")):
        if Version(version) <= Version(released):
            return f"{version} does not come after {released}, which CHANGELOG.md has"
    fragments = sorted(file.name for file in (root / "changelog.d").iterdir() if file.name != "README.md")
    unknown = [name for name in fragments if not is_fragment(name, fragment_kinds(root))]
    if unknown:
        return f"not named NAME.KIND.md, with a kind of changelog.d/README.md: {', '.join(unknown)}"
    if not fragments:
        return "changelog.d has no fragments: nothing has changed for users"
    gone = api.vanished(root)
    if gone and not api.is_announced(root):
        return "\n".join(["public names are gone, and no fragment of the kind breaking says so:", *gone])
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
