"""The published image: hadolint accepts its recipe, its labels are those of image-spec, and its base is pinned."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import hcl2
import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from release.facts import Project
from tests.support.checkers import complaints, needs
from tests.support.source_trees import ROOT

DOCKERFILE: Final = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
BUILD, FINAL = re.split(r"^FROM \$\{PYTHON_IMAGE\}.*$", DOCKERFILE.replace("\\\n", " "), flags=re.MULTILINE)[1:]
OCI: Final = "org.opencontainers.image."


def unquoted(value: Any) -> Any:
    """Return what python-hcl2 read, without the quotes that it keeps."""
    match value:
        case str():
            return value.strip('"')
        case list():
            return [unquoted(each) for each in value]
        case dict():
            return {unquoted(key): unquoted(each) for key, each in value.items() if not key.startswith("__")}
        case _:
            return value


def bake() -> dict[str, Any]:
    with (ROOT / "deploy" / "docker-bake.hcl").open(encoding="utf-8") as file:
        read: dict[str, Any] = unquoted(hcl2.load(file))
    return read


def target() -> dict[str, Any]:
    [found] = [each["image"] for each in bake()["target"]]
    return dict(found)


def release_job() -> str:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    return "\n".join(step.get("run", "") for step in yaml.safe_load(text)["jobs"]["image"]["steps"])


@needs("hadolint", "the group release")
@pytest.mark.process
def test_hadolint_accepts_the_recipe(tmp_path: Path) -> None:
    assert complaints("hadolint", "--no-color", "deploy/Dockerfile") == ""
    broken = tmp_path / "Dockerfile"
    broken.write_text(DOCKERFILE.replace("FROM ${PYTHON_IMAGE} AS build", "FROM python AS build"), "utf-8")
    assert "DL3006" in complaints("hadolint", "--no-color", str(broken))


def test_nothing_that_builds_or_installs_is_in_the_final_stage() -> None:
    assert "--without-pip" in BUILD
    assert "pip uninstall --yes pip" in FINAL
    assert "pip install" not in FINAL
    assert [line for line in FINAL.splitlines() if line.startswith("COPY")] == [
        "COPY --from=build /opt/ollama-push /opt/ollama-push"
    ]


def test_the_labels_are_those_of_image_spec_and_say_what_pyproject_says() -> None:
    project = Project.read()
    labels = dict(re.findall(rf'{OCI}([\w.]+)="([^"]*)"', FINAL))
    assert labels == {
        "title": project.name,
        "description": project.summary,
        "licenses": project.licence,
        "version": "${VERSION}",
        "revision": "${REVISION}",
        "created": "${CREATED}",
        "source": "${SOURCE}",
        "base.name": "${PYTHON_IMAGE}",
    }
    declared = set(re.findall(r"^ARG (\w+)", FINAL, re.MULTILINE))
    assert {name[2:-1] for name in labels.values() if name.startswith("${")} == declared
    annotations = dict(re.findall(rf"index:{OCI}(\w+)=(.*)", "\n".join(target()["annotations"])))
    assert {name: labels[name] for name in annotations} == annotations


def test_every_argument_of_the_build_is_a_variable_of_the_bake() -> None:
    variables = {name: each[name].get("default") for each in bake()["variable"] for name in each}
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert target()["args"] == {name: name for name in arguments}
    assert variables.keys() == arguments | {"REPOSITORY"}
    defaults = dict(re.findall(r'^ARG (\w+)="?([^"\n]*)"?$', DOCKERFILE, re.MULTILINE))
    assert {name: variables[name] for name in defaults} == defaults


def test_the_image_is_built_for_the_usual_machines_and_says_how() -> None:
    assert target()["platforms"] == ["linux/amd64", "linux/arm64"]
    assert target()["attest"] == ["type=provenance,mode=max", "type=sbom"]
    assert (ROOT / target()["dockerfile"]).samefile(ROOT / "deploy" / "Dockerfile")


def test_the_release_pins_the_base_by_the_digest_of_the_tag_in_the_recipe(tmp_path: Path) -> None:
    # The step itself, with a docker that answers as buildx does: no registry is asked here.
    [step] = re.findall(r"^image=.*?^echo|^image=.*?GITHUB_ENV\"$", release_job(), re.MULTILINE | re.DOTALL)
    bash, digest = shutil.which("bash"), f"sha256:{'5' * 64}"
    assert bash is not None
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >\'{tmp_path}/asked\'\nprintf \'"%s"\' "$ANSWER"\n', "utf-8")
    docker.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "GITHUB_ENV": str(tmp_path / "env"),
        "GITHUB_REPOSITORY": "Example/Ollama-Push",
    }
    for answer, code in ((digest, 0), ("", 1), ("sha256:short", 1)):
        done = subprocess.run(
            [bash, "-e", "-o", "pipefail", "-c", step],
            cwd=ROOT, env=environment | {"ANSWER": answer}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
    [image] = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert (tmp_path / "asked").read_text("utf-8").startswith(f"buildx imagetools inspect {image} ")
    assert (tmp_path / "env").read_text("utf-8").splitlines() == [
        f"PYTHON_IMAGE={image}@{digest}",
        "REPOSITORY=ghcr.io/example/ollama-push",
    ]


def test_the_release_sets_every_variable_of_the_bake() -> None:
    variables = {name for each in bake()["variable"] for name in each}
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    job = text[text.index("\n  image:") : text.index("\n  announce:")]
    assert [name for name in sorted(variables) if not re.search(rf"\b{name}[=:]", job)] == []
