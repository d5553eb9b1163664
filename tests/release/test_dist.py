"""What ``make dist`` builds: reproducible, complete, with nothing else in it; and it refuses what is not so."""

from __future__ import annotations

import email
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock
from release.dist import BuildProblem, make_dist, sdist_problems, wheel_problems
from tests.support.source_trees import ROOT, committed, copied_tree, git, needs_git, python

pytestmark = [pytest.mark.slow, pytest.mark.process, needs_git]


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return a tree with a tag, and its builds in ``dist``: made once, however many processes run these tests."""
    base = tmp_path_factory.getbasetemp()
    # xdist gives each of its processes a folder below one of the run.
    shared = base.parent if hasattr(request.config, "workerinput") else base
    tree = shared / "tagged" / "tree"
    with FileLock(shared / "tagged.lock"):
        if not (tree / "dist" / "SHA256SUMS").exists():
            shutil.rmtree(tree, ignore_errors=True)
            make_dist(committed(copied_tree(tree), "v7.8.9"))
    return tree


@pytest.fixture
def built(tagged: Path) -> tuple[Path, Path]:
    [sdist], [wheel] = (tagged / "dist").glob("*.tar.gz"), (tagged / "dist").glob("*.whl")
    return sdist, wheel


def test_the_builds_have_the_tags_version_and_their_digests_beside_them(built: tuple[Path, Path]) -> None:
    sdist, wheel = built
    assert [file.name for file in built] == ["ollama_push-7.8.9.tar.gz", "ollama_push-7.8.9-py3-none-any.whl"]
    sums = (sdist.parent / "SHA256SUMS").read_text("utf-8")
    assert sums == "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in (sdist, wheel))
    assert sorted(file.name for file in sdist.parent.iterdir()) == sorted([sdist.name, wheel.name, "SHA256SUMS"])


def test_the_wheel_says_what_pyproject_says(built: tuple[Path, Path]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    with zipfile.ZipFile(built[1]) as archive:
        told = email.message_from_bytes(archive.read("ollama_push-7.8.9.dist-info/METADATA"))
        licence = archive.read("ollama_push-7.8.9.dist-info/licenses/LICENSE")
        points = archive.read("ollama_push-7.8.9.dist-info/entry_points.txt").decode()
    assert (told["Name"], told["Version"], told["Requires-Python"]) == ("ollama-push", "7.8.9", ">=3.11")
    # PEP 639: an expression and files, and no classifier of a licence beside them.
    assert (told["License-Expression"], told.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert [line for line in told.get_all("Classifier", []) if line.startswith("License")] == []
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert sorted(told.get_all("Provides-Extra", [])) == sorted(project["optional-dependencies"])
    assert set(project["dependencies"]) <= set(told.get_all("Requires-Dist", []))
    assert "ollama-push = ollama_push.cli:main" in points


def test_the_wheel_has_the_package_and_no_tests(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        times = {entry.date_time for entry in archive.infolist()}
        assert "ollama_push/py.typed" in archive.namelist()
    assert tops == {"ollama_push", "ollama_push-7.8.9.dist-info"}
    assert len(times) == 1, "the time of the commit, for every file"


def test_the_installed_wheel_knows_its_version(built: tuple[Path, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(tmp_path)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "ollama_push.cli", "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "ollama-push 7.8.9\n"


def test_the_sdist_has_what_its_tests_need(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    tree = tmp_path / "ollama_push-7.8.9"
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": "src"}
    # They read pages, recipes, forms, fragments, the Makefile and every module.
    files = ["tests/docs/test_maintainers.py", "tests/unit/test_layout.py", "tests/unit/core/test_version.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_the_same_commit_gives_the_same_bytes_elsewhere(tagged: Path, built: tuple[Path, Path], tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", tagged.as_uri(), "elsewhere")
    tree = tmp_path / "elsewhere"
    for file in tree.rglob("*.py"):
        file.chmod(0o600)  # another umask
    # As pip does: the sdist, and the wheel from that.
    python(tree, "-m", "build", "--no-isolation", epoch=int(git(tagged, "log", "-1", "--format=%ct")))
    assert [(tree / "dist" / file.name).read_bytes() for file in built] == [file.read_bytes() for file in built]


def wheel_with(wheel: Path, name: str, folder: Path) -> Path:
    changed = folder / wheel.name
    shutil.copy2(wheel, changed)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr(name, "")
    return changed


def wheel_without(wheel: Path, name: str, folder: Path) -> Path:
    changed = folder / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(changed, "w") as target:
        for entry in source.infolist():
            if entry.filename != name:
                target.writestr(entry, source.read(entry))
    return changed


def test_a_wheel_with_tests_in_it_is_refused(tagged: Path, built: tuple[Path, Path], tmp_path: Path) -> None:
    assert wheel_problems(built[1], tagged) == []
    wheel = wheel_with(built[1], "tests/conftest.py", tmp_path)
    assert wheel_problems(wheel, tagged) == [f"{wheel.name} has tests/conftest.py, which is no part of the package"]


@pytest.mark.parametrize("name", ["ollama_push/py.typed", "ollama_push-7.8.9.dist-info/licenses/LICENSE"])
def test_a_wheel_that_lacks_a_file_is_refused(
    name: str, tagged: Path, built: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel = wheel_without(built[1], name, tmp_path)
    assert wheel_problems(wheel, tagged) == [f"{wheel.name} lacks {name}"]


def test_an_sdist_with_other_files_than_the_commit_is_refused(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        tracked = {m.name.partition("/")[2] for m in archive if m.isfile()}
    assert sdist_problems(built[0], None) == []
    tracked = tracked - {"Makefile"} | {"PKG-INFO", "new.py"}
    assert sdist_problems(built[0], tracked) == [
        "ollama_push-7.8.9.tar.gz lacks new.py",
        "ollama_push-7.8.9.tar.gz has Makefile, which is not committed",
    ]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return what a build cannot do without, committed."""
    needed = ("pyproject.toml", "README.md", "LICENSE", ".git", "src")
    return committed(copied_tree(tmp_path / "tree", needed), "v7.8.9")


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_left(small: Path) -> None:
    settings = (small / "pyproject.toml").read_text("utf-8")
    (small / "README.rst").write_text("Title\n==\n\n.. nothing::\n", "utf-8")  # no index can show it
    (small / "pyproject.toml").write_text(settings.replace('readme = "README.md"', 'readme = "README.rst"'), "utf-8")
    committed(small)
    (small / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(BuildProblem) as caught:
        make_dist(small)
    assert "has notes.txt, which is not committed" in str(caught.value)
    assert "twine: " in str(caught.value)
    assert not (small / "dist").exists()


def test_a_build_that_fails_says_why(small: Path) -> None:
    (small / "LICENSE").unlink()
    (small / "README.md").unlink()
    with pytest.raises(BuildProblem, match=r"README\.md"):
        make_dist(small)
