"""``docs/progress.schema.json`` describes what a real process writes, field for field and in order."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from tests.support.stores import put_model

from ollama_push.core.facts import RejectionReason
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply
from ollama_push.testing.server import Script, ScriptedServer, json_answer, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process]

SCHEMA: Final = json.loads((Path(__file__).parents[2] / "docs" / "progress.schema.json").read_text("utf-8"))
KINDS: Final = ("planned", "status", "progress", "retry", "succeeded", "failed", "checked", "verified")
COMMAND: Final = (sys.executable, "-W", "error", "-m", "ollama_push.cli", "push", "--progress", "json")
ANONYMOUS: Final = {"DOCKER_CONFIG": "/nonexistent"}
NAME: Final = "localhost:5000/a/b"
LAYER: Final = b'{"status":"pushing 49a7f1752a33","digest":"sha256:49a7","total":%d,"completed":%d}'
SUCCESS: Final = lines_answer(
    [b'{"status":"retrieving manifest"}', LAYER % (100, 40), LAYER % (100, 100), b'{"status":"success"}']
)
TAGS: Final = b'{"models":[{"name":"localhost:5000/a/b:latest","size":100}]}'
BUSY: Final = json_answer(b'{"error":"busy"}', 503, {"Retry-After": "0"})


def new_server(*scripts: Script, tags: bytes = TAGS) -> ScriptedServer:
    answers = {"/api/version": json_answer(b'{"version":"0.32.15"}'), "/api/tags": json_answer(tags)}
    return ScriptedServer(*scripts, answers=answers)


def command(url: str, *options: str) -> list[str]:
    return [*COMMAND, "--host", url, *options]


def run(server: ScriptedServer, *options: str) -> list[Any]:
    with server:
        done = subprocess.run(command(server.url, *options), capture_output=True, timeout=30, check=False)
    assert done.stdout.endswith(b"\n")
    return valid(done.stdout.splitlines())


def valid(lines: Sequence[bytes]) -> list[Any]:
    """Return what *lines* hold, after checking each against the schema."""
    found = [json.loads(line) for line in lines]
    for one in found:
        Draft202012Validator(SCHEMA).validate(one)
        assert list(one) == list(SCHEMA["$defs"][one["event"]]["properties"])
    return found


def events(found: Sequence[Any]) -> list[str]:
    return [one["event"] for one in found]


def test_the_schema_is_one_and_names_every_kind_and_reason() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["oneOf"] == [{"$ref": f"#/$defs/{kind}"} for kind in KINDS]
    assert all(SCHEMA["$defs"][kind]["required"] == list(SCHEMA["$defs"][kind]["properties"]) for kind in KINDS)
    reasons = SCHEMA["$defs"]["reason"]["enum"]
    assert reasons == [*(reason.value for reason in RejectionReason), None]


def test_success_is_described() -> None:
    found = run(new_server(SUCCESS), NAME)
    assert events(found) == ["status", "progress", "progress", "succeeded"]
    assert list(found[-1]["layers"][0]) == ["digest", "total_bytes"]


def test_success_of_a_model_of_unknown_size_is_described() -> None:
    found = run(new_server(SUCCESS, tags=b'{"models":[{"name":"localhost:5000/a/b:latest"}]}'), NAME)
    assert [one["overall"] for one in found if one["event"] == "progress"] == [None, None]


def test_a_direct_push_is_described(tmp_path: Path) -> None:
    put_model(tmp_path / "models")
    busy = Fault("POST", "/blobs/uploads/", action=Reply(503, {"Retry-After": "0"}))
    with EmbeddedRegistry(tmp_path / "data", faults=[busy]) as registry:
        name = f"{registry.host}/team/my-llama"
        options = (
            "--direct",
            "--plain-http",
            "--no-resume",
            "--from",
            "my-llama",
            "--models",
            str(tmp_path / "models"),
        )
        done = subprocess.run(
            [*COMMAND, name, *options], capture_output=True, timeout=30, check=False, env={**os.environ, **ANONYMOUS}
        )
    found = valid(done.stdout.splitlines())
    assert set(events(found)) == set(KINDS) - {"failed", "checked", "verified"}
    assert (found[0]["event"], found[0]["total_bytes"]) == ("planned", found[-1]["total_bytes"])
    assert found[-1]["manifest_digest"].startswith("sha256:")
    assert (found[-1]["sent_bytes"], found[-1]["skipped_bytes"]) == (found[-1]["total_bytes"], 0)
    assert (found[-1]["resumed_bytes"], found[-1]["verified"]) == (0, True)
    assert (found[-1]["attempts"], found[-1]["retries"]) == (1, 1)


def test_retry_is_described() -> None:
    found = run(new_server(BUSY, SUCCESS), NAME)
    assert events(found) == ["retry", "status", "progress", "progress", "succeeded"]
    assert (found[0]["attempt"], found[0]["error"], found[-1]["attempts"]) == (1, "ServerError", 2)
    assert found[-1]["retries"] == 1


def test_a_success_without_a_reported_layer_is_described() -> None:
    [success] = run(new_server(lines_answer([b'{"status":"success"}'])), NAME)
    assert (success["layers"], success["total_bytes"]) == ([], None)


def test_failure_of_every_shape_is_described() -> None:
    refused = lines_answer([b'{"status":"a"}', b'{"error":"unauthorized: access denied"}'])
    assert events(run(new_server(refused), NAME)) == ["status", "failed"]
    [signed_out] = run(new_server(json_answer(b'{"error":"no","signin_url":"https://ollama.com/c"}', 401)), NAME)
    assert (signed_out["exit_code"], signed_out["signin_url"]) == (6, "https://ollama.com/c")
    nameless, bare, *_, good = run(new_server(SUCCESS), "", "llama3", NAME)
    assert [(bad["model"], bad["error"], bad["attempts"]) for bad in (nameless, bare)] == [
        ("", "InvalidModelName", 0),
        ("llama3", "InvalidModelName", 0),
    ]
    assert good["event"] == "succeeded"


def test_a_killed_process_leaves_only_whole_lines() -> None:
    many = 200_000
    lines = (LAYER % (many, number) for number in range(1, many))
    with new_server(lines_answer(lines)) as server:
        process = subprocess.Popen(command(server.url, NAME), stdout=subprocess.PIPE, env=dict(os.environ))
        assert process.stdout is not None
        written = [process.stdout.readline() for _ in range(100)]
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        assert process.wait(10) < 0
    assert rest == b"" or rest.endswith(b"\n")
    found = valid([*written, *rest.splitlines()][:2000])
    assert set(events(found)) == {"progress"}
    assert found[-1]["completed"] < many - 1
