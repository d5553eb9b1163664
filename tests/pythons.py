"""Runs the tests of the built wheel on every interpreter from 3.11 on that this machine has (make test-pythons).

``python -m tests.pythons [--newest] [--list] [--wheel FILE] [PYTEST_ARGUMENT ...]``: on the newest alone; only say
which there are; a wheel that is there already, such as one to be published; what pytest is given besides. Else the
wheel is built once. It is installed into ``.venv-3.N``; the tree's ``src`` is on no path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FLOOR: Final = 11
"""Of 3.N."""
_NAME: Final = re.compile(r"python3\.(\d+)")


def interpreters(path: str, home: Path) -> dict[int, Path]:
    """Return an interpreter for each N of 3.N, from :data:`FLOOR` on: of *path*, else the newest of pyenv in *home*."""
    folders = [Path(folder) for folder in path.split(os.pathsep) if folder]
    pyenv = sorted((home / ".pyenv" / "versions").glob("3.*/bin"), key=_numbers, reverse=True)
    found: dict[int, Path] = {}
    for folder in [*folders, *pyenv]:
        for program in sorted(folder.glob("python3.*")):
            name = _NAME.fullmatch(program.name)
            # A shim of pyenv is there for every version, and runs only those that are switched on.
            if name and int(name[1]) >= FLOOR and int(name[1]) not in found and _runs(program, int(name[1])):
                found[int(name[1])] = program
    return dict(sorted(found.items()))


def _numbers(folder: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", folder.parent.name)))


def _runs(program: Path, minor: int) -> bool:
    code = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, {minor}))"
    try:
        return subprocess.run([program, "-c", code], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def main(arguments: list[str]) -> int:
    """Run the tests; return 1 if they fail anywhere."""
    found = interpreters(os.environ.get("PATH", ""), Path.home())
    if "--newest" in arguments and found:
        found = {max(found): found[max(found)]}
    sys.stdout.write("".join(f"3.{minor}: {program}\n" for minor, program in found.items()) or "no interpreter found\n")
    if "--list" in arguments:
        return 0
    more = [argument for argument in arguments if argument != "--newest"]
    given = None
    if "--wheel" in more:
        place = more.index("--wheel")
        given = Path(more[place + 1]).resolve(strict=True)
        del more[place : place + 2]
    with tempfile.TemporaryDirectory() as folder:
        wheel = given or _built(Path(folder))
        codes = {minor: _test(minor, program, wheel, more) for minor, program in found.items()}
    failed = [f"3.{minor}" for minor, code in codes.items() if code]
    sys.stdout.write(f"failed on {', '.join(failed)}\n" if failed else "passed on all\n")
    return int(bool(failed) or not found)


def _built(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], check=True
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def _test(minor: int, program: Path, wheel: Path, more: Iterable[str]) -> int:
    """Install *wheel* for *program* and return pytest's exit code."""
    place = ROOT / f".venv-3.{minor}"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([program, "-m", "venv", place], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
    subprocess.run([*pip, f"{wheel}[all]", "--group", f"{ROOT / 'pyproject.toml'}:test"], check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(wheel)], check=True)
    sys.stdout.write(f"--- 3.{minor}\n")
    sys.stdout.flush()
    pytest = [str(python), "-m", "pytest", "-q", "-n", os.environ.get("WORKERS", "4"), "tests", *more]
    with tempfile.TemporaryDirectory() as folder:
        # A copy, so that runs on several Pythons do not meet; some tests read its "src", and none imports from there.
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__", "site"))
        where = subprocess.run(
            [str(python), "-c", "import ollama_push; print(ollama_push.__file__)"],
            cwd=tree, env=_bare(), check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        if not where.startswith(str(place)):
            raise RuntimeError(f"not the wheel, but {where.strip()} would be tested")
        return subprocess.run(pytest, cwd=tree, env=_bare(), check=False).returncode


def _bare() -> Mapping[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
