"""The workflows do what docs/release.md says, with as few rights as that needs, and their checkers accept them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from tests.support.checkers import complaints, needs
from tests.support.source_trees import ROOT

FOLDER: Final = ROOT / ".github" / "workflows"
FILES: Final = sorted(FOLDER.glob("*.yml"))
EXAMPLE: Final = ROOT / "examples" / "ci" / "github-actions.yml"
TARGETS: Final = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def workflow(name: str) -> dict[str, Any]:
    # BaseLoader: YAML 1.1 takes the key "on" for a truth value.
    loaded: dict[str, Any] = yaml.load((FOLDER / f"{name}.yml").read_text("utf-8"), Loader=yaml.BaseLoader)
    return loaded


def job(name: str) -> dict[str, Any]:
    found: dict[str, Any] = workflow("release")["jobs"][name]
    return found


def used_actions(file: Path) -> Iterator[str]:
    yield from re.findall(r"uses: (.*)$", file.read_text("utf-8"), re.MULTILINE)


@needs("actionlint", "go, see GO_PROGRAMS in the Makefile")
@pytest.mark.parametrize("file", [*FILES, EXAMPLE], ids=lambda file: file.name)
def test_actionlint_accepts_the_workflow(file: Path) -> None:
    assert complaints("actionlint", str(file)) == ""


@needs("actionlint", "go, see GO_PROGRAMS in the Makefile")
def test_actionlint_is_asked_in_a_way_that_can_fail(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text((FOLDER / "release.yml").read_text("utf-8").replace("needs: build", "needs: bild"), "utf-8")
    assert "bild" in complaints("actionlint", str(broken))


@needs("zizmor", "the group release")
@pytest.mark.process
def test_zizmor_finds_nothing() -> None:
    assert complaints("zizmor", "--offline", "--no-progress", ".github", str(EXAMPLE)) == ""


@needs("shellcheck", "the group release")
@pytest.mark.process
def test_shellcheck_accepts_the_script_that_ci_runs() -> None:
    assert complaints("shellcheck", ".ci/run") == ""


@pytest.mark.parametrize("file", [*FILES, EXAMPLE], ids=lambda file: file.name)
def test_every_action_is_pinned_by_a_commit_and_says_its_version(file: Path) -> None:
    actions = [*used_actions(file)]
    assert actions
    pinned = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [action for action in actions if not pinned.fullmatch(action.partition(" # f")[0])] == []


def test_one_action_has_one_version_everywhere() -> None:
    named = {action for file in [*FILES, EXAMPLE] for action in used_actions(file)}
    assert len({action.partition("@")[0] for action in named}) == len(named)


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_a_workflow_may_do_nothing_but_what_its_jobs_say(name: str) -> None:
    loaded = workflow(name)
    assert loaded["permissions"] == {}
    for each in loaded["jobs"].values():
        assert each["permissions"]
        assert int(each["timeout-minutes"]) <= 90
        for step in each["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] == "false"


def test_ci_runs_the_one_script() -> None:
    [check] = workflow("ci")["jobs"].values()
    assert check["permissions"] == {"contents": "read"}
    assert check["steps"][-1]["run"].rstrip().endswith("bash .ci/run")
    assert check["steps"][0]["with"]["fetch-depth"] == "0", "the version is that of the last tag"


def test_only_a_tag_of_a_version_releases() -> None:
    assert workflow("release")["on"] == {"push": {"tags": ["v*"]}}


def test_each_job_may_do_the_one_thing_it_is_for() -> None:
    rights = {name: each["permissions"] for name, each in workflow("release")["jobs"].items()}
    assert rights == {
        "build": {"contents": "read"},
        "attest": {"id-token": "write", "attestations": "write"},
        "publish": {"id-token": "write"},
        "image": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
        "announce": {"contents": "write"},
        "pages": {"contents": "write"},
    }


def test_what_is_published_is_what_was_tested_and_attested() -> None:
    assert (job("attest")["needs"], job("publish")["needs"]) == ("build", "attest")
    assert {job(name)["needs"] for name in ("image", "announce", "pages")} == {"publish"}
    # No code of the repository runs where the index believes the identity, or where its branches can be written.
    assert [step for step in job("publish")["steps"] if "run" in step] == []
    for name in ("attest", "publish", "announce", "pages"):
        assert "checkout" not in str(job(name))
    assert job("publish")["environment"] == "pypi"
    assert job("publish")["steps"][0]["with"]["name"] == "packages"
    assert "password" not in str(job("publish")), "a trusted publisher has no token"
    runs = "\n".join(step.get("run", "") for step in job("build")["steps"])
    order = [
        "release-notes",
        "make sbom",
        "make test-pythons",
        "release.audit --strict",
        "release.recipes",
        "make docs-version",
    ]
    assert sorted(order, key=runs.index) == order


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_step_calls_targets_and_modules_there_are(file: Path) -> None:
    text = file.read_text("utf-8")
    assert set(re.findall(r"make (?:-s )?([a-z-]+)", text)) - {*TARGETS} == set()
    modules = re.findall(r"python -m (release\.\w+)", text)
    assert [module for module in modules if not (ROOT / f"{module.replace('.', '/')}.py").exists()] == []


def test_no_text_of_others_becomes_code() -> None:
    # What an expression in a script expands to is run: names of branches and titles are written by anyone.
    scripts = [
        step.get("run", "") for file in FILES for each in workflow(file.stem)["jobs"].values() for step in each["steps"]
    ]
    assert [script for script in scripts if "${{" in script] == []
