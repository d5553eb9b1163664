"""``verify``: whether a registry holds a model, for people, for scripts and for programs."""

from pathlib import Path

import pytest
from tests.cli.test_check import objects
from tests.support.command_direct import PASSWORD, SMALL_BYTES, Home, at_home
from tests.support.stores import put_model

from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Quirks

pytestmark = [pytest.mark.slow, pytest.mark.process]


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_a_model_that_arrived_is_verified_against_the_local_one(tmp_path: Path, transport: str) -> None:
    with at_home(tmp_path) as home:
        before = home.run("verify", home.name, "--plain-http", "--from", "my-llama", "--transport", transport)
        home.direct("push")
        after = home.run("verify", home.name, "--plain-http", "--from", "my-llama", "--transport", transport)
    assert (before.returncode, before.stdout) == (10, "")
    assert before.stderr.startswith(f"error: {home.name}:latest: verification failed for sha256:")
    assert before.stderr.endswith(f": the registry has no manifest for {home.name}:latest\n")
    assert (after.returncode, after.stderr) == (0, f"{home.name}:latest: verified\n")
    registry, model, manifest, compared, pull = after.stdout.splitlines()
    assert (registry, model) == (f"registry: {home.registry.url}", f"model: {home.name}:latest, 8.0 kB in 4 blobs")
    assert manifest.startswith("manifest: sha256:")
    assert compared == "the same as the local model my-llama"
    assert pull.startswith("can a stock `ollama pull` get it? no: the registry sends blobs itself, ")


def test_a_machine_without_the_model_looks_at_what_the_registry_names(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        home.direct("push")
        done = home.run("verify", home.name, "--plain-http", OLLAMA_MODELS=str(tmp_path / "nowhere"))
        wrong = home.run("verify", home.name, "--plain-http", "--from", "nope")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2].startswith("not compared: this machine has no model of that name; --from")
    assert wrong.returncode == 7


def test_another_model_under_the_name_is_code_10(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        home.direct("push")
        put_model(tmp_path / "models", "registry.ollama.ai/library/other/latest", (b"x",))
        done = home.run("verify", home.name, "--plain-http", "--from", "other", "--progress", "json")
    [failed] = objects(done.stdout)
    assert done.returncode == failed["exit_code"] == 10
    assert (failed["event"], failed["error"]) == ("failed", "VerificationFailed")
    assert done.stderr == f"error: {home.name}:latest: {failed['message']}\n"


def test_an_object_says_what_was_found(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        home.direct("push")
        done = home.run("verify", home.name, "--plain-http", "--from", "my-llama", "--progress", "json")
        quiet = home.run("verify", home.name, "--plain-http", "--from", "my-llama", "--progress", "none")
    [found] = objects(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (found["registry"], found["blobs"], found["total_bytes"]) == (home.registry.url, 4, SMALL_BYTES)
    assert found["matches_local"] is True
    assert (found["pullability"]["is_pullable"], found["pullability"]["asked_blobs"]) == (False, 4)
    assert [each["problem"] for each in found["pullability"]["obstacles"]] == ["plain-http", "no-redirect"]
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_what_is_no_answer_to_the_question_has_its_own_code(tmp_path: Path) -> None:
    with at_home(tmp_path, auth=BasicAuth({"me": PASSWORD})) as home:
        refused = home.run("verify", home.name, "--plain-http")
        illegal = home.run("verify", "A b", "--plain-http")
        home.registry.stop()
        gone = home.run("verify", home.name, "--plain-http", "--retries", "0")
    assert (refused.returncode, illegal.returncode, gone.returncode) == (6, 3, 4)


def test_a_registry_that_returns_something_else_is_code_10(tmp_path: Path) -> None:
    manifest = put_model(tmp_path / "models")
    with EmbeddedRegistry(tmp_path / "data", quirks=Quirks(wrong_manifest=True)) as registry:
        home = Home(tmp_path, registry, manifest)
        home.direct("push", "--no-verify")
        done = home.run("verify", home.name, "--plain-http", "--from", "my-llama")
    assert done.returncode == 10
