"""Builds the sdist and the wheel, twice, and refuses what must not be published: ``make dist``.

It leaves the files in ``dist/``, with their digests in ``dist/SHA256SUMS``. They hold no time of their own:
``SOURCE_DATE_EPOCH`` is that of the last commit, so whoever builds the same commit with the same tools gets the same
bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from release.facts import ROOT

__all__ = ["BuildProblem", "make_dist", "sdist_problems", "wheel_problems"]

_MADE_BY_THE_BUILD: Final = frozenset({"PKG-INFO", "src/ollama_push/core/_version.py"})
_PACKAGE: Final = "ollama_push/"
_NEEDED_IN_WHEEL: Final = (
    "ollama_push/py.typed",
    "ollama_push/core/_version.py",
    "ollama_push/gateway/status_page/static/ui.html",
)
_HINT: Final = "the tree has changes that are not committed: the version says so, and must not be published"


class BuildProblem(Exception):
    """What was built must not be published; the text has a line for each reason."""


def make_dist(root: Path = ROOT, out: Path | None = None) -> list[Path]:
    """Build into *out*, by default ``dist`` in *root*, and return the sdist and the wheel.

    Raises:
        BuildProblem: A check failed; nothing is left in *out*.
    """
    out = out or root / "dist"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or _commit_time(root)}
    with tempfile.TemporaryDirectory() as name:
        first, second, third = (Path(name) / place for place in ("first", "second", "third"))
        sdist, wheel = built = _built(root, first, environment)
        _refuse(
            [
                *sdist_problems(sdist, _tracked(root)),
                *wheel_problems(wheel, root),
                *_tool_problems(["twine", "check", "--strict", str(sdist), str(wheel)], root),
                *_tool_problems(["check_wheel_contents", str(wheel)], root),
            ]
        )
        again = _built(root, second, environment)
        _build(_unpacked(sdist, Path(name) / "unpacked"), "--wheel", third, environment)
        _refuse(
            [
                f"{one.name} differs when it is built {how}"
                for one, other, how in (
                    (sdist, again[0], "once more"),
                    (wheel, again[1], "once more"),
                    (wheel, third / wheel.name, "from the sdist"),
                )
                if _differ(one, other)
            ]
        )
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        return _kept(built, out)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise BuildProblem("\n".join(problems))


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git says of *root*; ``None`` without git or a repository, such as in an unpacked sdist."""
    program = shutil.which("git")
    if program is None or not (root / ".git").exists():
        return None
    return subprocess.run([program, *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def _commit_time(root: Path) -> str:
    """Return the seconds since 1970 at which the tree was committed; hatchling's own constant where nobody knows."""
    return (_git(root, "log", "-1", "--format=%ct") or "1580601600").strip()


def _built(root: Path, place: Path, environment: Mapping[str, str]) -> tuple[Path, Path]:
    _build(root, "--sdist", place, environment)
    _build(root, "--wheel", place, environment)
    [sdist], [wheel] = place.glob("*.tar.gz"), place.glob("*.whl")
    return sdist, wheel


def _build(root: Path, kind: str, place: Path, environment: Mapping[str, str]) -> None:
    # Without isolation, the tools are those of the environment, which a lock may have fixed.
    command = [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(place), str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildProblem(f"{kind} was not built:\n{done.stdout}{done.stderr}")


def _differ(one: Path, other: Path) -> bool:
    return not other.exists() or one.read_bytes() != other.read_bytes()


def _unpacked(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [top] = folder.iterdir()
    return top


def _tracked(root: Path) -> set[str] | None:
    listed = _git(root, "ls-files", "-z")
    return None if listed is None else set(filter(None, listed.split("\0")))


def sdist_problems(sdist: Path, tracked: Iterable[str] | None) -> list[str]:
    """Return what is wrong with the files of *sdist*: it has those *tracked*, if known, and two made by the build."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    expected = names | _MADE_BY_THE_BUILD if tracked is None else {*tracked, *_MADE_BY_THE_BUILD}
    return [
        *(f"{sdist.name} lacks {name}" for name in sorted(expected - names)),
        *(f"{sdist.name} has {name}, which is not committed" for name in sorted(names - expected)),
    ]


def wheel_problems(wheel: Path, root: Path = ROOT) -> list[str]:
    """Return what is wrong with the files of *wheel*: it has the package, its licence, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    information = "-".join(wheel.name.split("-")[:2]) + ".dist-info/"
    package = {f"{_PACKAGE}{file.relative_to(root / 'src' / _PACKAGE).as_posix()}" for file in _package_files(root)}
    expected = {
        *package,
        *_NEEDED_IN_WHEEL,
        f"{information}licenses/LICENSE",
        *(information + name for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")),
    }
    return [
        *(f"{wheel.name} lacks {name}" for name in sorted(expected - names)),
        *(f"{wheel.name} has {name}, which is no part of the package" for name in sorted(names - expected)),
    ]


def _package_files(root: Path) -> list[Path]:
    return [file for file in (root / "src" / _PACKAGE).rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _tool_problems(command: list[str], root: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False)
    return [f"{command[0]}: {done.stdout}{done.stderr}".strip()] if done.returncode else []


def _kept(files: Iterable[Path], out: Path) -> list[Path]:
    kept = [Path(shutil.copy2(file, out)) for file in files]
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in kept)
    (out / "SHA256SUMS").write_text(sums, "utf-8")
    return kept


def main() -> int:
    """Build, print the digests, and return 1 when something must not be published."""
    try:
        [sdist, _] = make_dist()
    except BuildProblem as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write((sdist.parent / "SHA256SUMS").read_text("utf-8"))
    if "+" in sdist.name:
        sys.stdout.write(f"not a release: {_HINT if '.d20' in sdist.name else 'the commit has no tag'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
