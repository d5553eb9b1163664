"""What fails a run, an unlisted survivor or a low share; and which commit CI compares with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.mutants import changes
from tests.mutants.__main__ import problems_of
from tests.mutants.mutations import CORE, Mutant, mutants_of
from tests.mutants.survivors import Survivors

_PATH = CORE / "registry" / "flows" / "login.py"


@pytest.fixture
def mutants() -> list[Mutant]:
    found = mutants_of(_PATH)
    assert len(found) > 3
    return found


def _gone_through(mutants: list[Mutant], listed: list[Mutant] = []) -> Survivors:  # noqa: B006 - read only
    return Survivors(frozenset({mutants[0].path}), {mutant.key: "no test can tell" for mutant in listed})


def test_nothing_fails_when_all_are_noticed(mutants: list[Mutant]) -> None:
    noticed = {mutant: "refused" if number % 2 else "killed" for number, mutant in enumerate(mutants)}
    assert problems_of(mutants, noticed, _gone_through(mutants)) == []


def test_an_unlisted_survivor_fails_and_is_shown(mutants: list[Mutant]) -> None:
    ended = {mutants[0]: "survived", **dict.fromkeys(mutants[1:], "killed")}
    problem = problems_of(mutants, ended, _gone_through(mutants))[0]
    assert mutants[0].line in problem
    assert mutants[0].becomes in problem


def test_a_low_share_fails_though_all_survivors_are_listed(mutants: list[Mutant]) -> None:
    (problem,) = problems_of(mutants, dict.fromkeys(mutants, "survived"), _gone_through(mutants, mutants))
    assert "92%" in problem


def test_what_is_listed_and_no_mutant_fails(mutants: list[Mutant]) -> None:
    text = f'{{"{mutants[0].path}": [{{"in": "x", "line": "y", "mutant": "z", "why": "gone"}}]}}'
    (problem,) = problems_of(mutants, dict.fromkeys(mutants, "killed"), Survivors.read(text))
    assert "no mutant any more" in problem


def test_a_module_that_was_not_gone_through_fails_nothing(
    mutants: list[Mutant], capsys: pytest.CaptureFixture[str]
) -> None:
    assert problems_of(mutants, dict.fromkeys(mutants, "survived"), Survivors.read("{}")) == []
    assert mutants[0].becomes in capsys.readouterr().out


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository of three commits, each of which adds a line to a module of the core."""
    folder = tmp_path / "clone"
    core = folder / "src" / "ollama_push" / "core"
    core.mkdir(parents=True)
    _git(folder, "init", "-q")
    for number in range(3):
        (core / "m.py").write_text("".join(f"x{line} = 1\n" for line in range(number + 1)))
        _git(folder, "add", ".")
        _git(folder, "commit", "-qm", str(number))
    return folder


def test_without_branch_and_tag_some_commits_ago_is_the_base(clone: Path) -> None:
    first = _git(clone, "rev-parse", "HEAD~2")
    assert changes.base(clone) == first
    assert changes.changed_lines(first, clone) == {clone / "src" / "ollama_push" / "core" / "m.py": {2, 3}}


def test_the_last_tag_is_the_base_unless_it_is_this_commit(clone: Path) -> None:
    _git(clone, "tag", "v1", "HEAD~1")
    _git(clone, "tag", "v2", "HEAD")
    assert changes.base(clone) == "v1"
    assert set(changes.changed_lines("v1", clone).popitem()[1]) == {3}


def test_where_the_branch_left_main_is_the_base(clone: Path) -> None:
    _git(clone, "update-ref", "refs/remotes/origin/main", "HEAD~1")
    assert changes.base(clone) == _git(clone, "rev-parse", "HEAD~1")


def test_a_clone_of_one_commit_has_no_base(clone: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    _git(tmp_path, "clone", "-q", "--depth=1", f"file://{clone}", str(shallow))
    # What such a clone knows of its origin is this very commit.
    assert changes.base(shallow) is None
