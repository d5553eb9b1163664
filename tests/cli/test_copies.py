"""``ollama-push copy`` as a process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.command_direct import SMALL_BYTES, at_home

from ollama_push.local import OciLayout

pytestmark = pytest.mark.process


def test_a_model_goes_round_and_arrives_as_it_was(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        layout = f"oci:{tmp_path / 'layout'}:demo"
        steps = [
            ("my-llama", layout),
            (layout, f"{home.registry.host}/team/copied:v1"),
            (f"{home.registry.host}/team/copied:v1", "ollama:again"),
            ("again", f"{home.registry.host}/team/my-llama:latest"),
        ]
        for source, target in steps:
            done = home.run("copy", source, target, "--plain-http")
            assert done.returncode == 0, done.stderr
            assert "verified" in done.stderr
        assert home.pushed()
    assert OciLayout(tmp_path / "layout").model("demo").read_manifest() == home.manifest


def test_a_dry_run_copies_nothing(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("copy", "my-llama", f"oci:{tmp_path / 'layout'}", "--dry-run")
        refused = home.run("copy", "no-llama", f"oci:{tmp_path / 'layout'}", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("already there: nothing; to send: ")
    assert not (tmp_path / "layout").exists()
    assert refused.returncode == 7
    assert "there is no model 'library/no-llama" in refused.stderr


def test_programs_read_the_same_as_of_a_push(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("copy", "my-llama", f"oci:{tmp_path / 'layout'}", "--progress", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "succeeded"
    assert events[-1]["total_bytes"] == SMALL_BYTES
    assert events[-1]["model"] == f"oci:{tmp_path / 'layout'}"


@pytest.mark.parametrize(
    ("source", "target", "code", "said"),
    [
        ("my-llama", "team/x", 2, "TARGET='team/x': it may be a model of Ollama's store or of its registry"),
        ("./x", "ollama:x", 2, "SOURCE='./x': what is in this file?"),
        ("oci:nowhere", "ollama:x", 5, "the source oci:nowhere failed: this is no OCI layout"),
        ("my-llama", "oci:no/such/folder", 5, "the target oci:no/such/folder failed"),
    ],
)
def test_what_cannot_be_copied_is_said(source: str, target: str, code: int, said: str, tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("copy", source, target)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


@pytest.mark.slow
def test_a_push_takes_a_model_from_anywhere(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        source = f"oci:{tmp_path / 'layout'}"
        home.run("copy", "my-llama", source)
        options = ("--direct", "--plain-http", "--from", source)
        checked = home.run("check", home.name, *options)
        done = home.run("push", home.name, *options)
        assert (checked.returncode, done.returncode) == (0, 0), done.stderr
        assert home.pushed()
