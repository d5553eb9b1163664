"""What ``check`` says where: facts on stdout, all that is wrong on stderr, and one object a name for programs."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from tests.support.command import HERE, NAME, run
from tests.support.command_direct import PASSWORD, SMALL_BYTES, at_home

from ollama_push.testing.registry import BasicAuth
from ollama_push.testing.server import ScriptedServer, json_answer

pytestmark = pytest.mark.process

SCHEMA: Final = json.loads((Path(__file__).parents[2] / "docs" / "progress.schema.json").read_text("utf-8"))
MISSING: Final = "localhost:5000/a/none"


def objects(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        Draft202012Validator(SCHEMA).validate(one)
        assert list(one) == list(SCHEMA["$defs"][one["event"]]["properties"])
    return found


def test_the_reasons_stand_with_the_verdict_and_the_facts_elsewhere() -> None:
    with ScriptedServer(answers=HERE) as server:
        done = run("check", NAME, MISSING, "x", "--host", server.url)
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        "server: Ollama 0.32.15",
        f"model: {NAME}:latest, 100 B",
        "server: Ollama 0.32.15",
    ]
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "localhost",
        "problem",
        "localhost",
        "problem",
        "x",
    ]


def test_an_object_a_name_says_all_of_it() -> None:
    with ScriptedServer(answers=HERE) as server:
        done = run("check", NAME, MISSING, "--host", server.url, "--progress", "json")
    good, bad = objects(done.stdout)
    assert done.returncode == 7
    assert (good["ready"], good["total_bytes"], good["server_version"], good["problems"]) == (True, 100, "0.32.15", [])
    assert (bad["ready"], bad["total_bytes"]) == (False, None)
    [problem] = bad["problems"]
    assert (problem["error"], problem["reason"], problem["exit_code"]) == ("PushRejected", "model-not-found", 7)
    assert done.stderr.splitlines() == [f"problem: {problem['message']}", f"{MISSING}:latest: not ready"]


def test_a_dry_run_is_an_object_too(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("check", "--progress", "json")
        refused = home.run("check", home.name, *home.options[:2], "--from", "nope", "--progress", "json")
    [found] = objects(done.stdout)
    assert (done.returncode, done.stderr, found["ready"]) == (0, "", True)
    assert (found["registry"], found["present_bytes"], found["missing_bytes"]) == (home.registry.url, 0, SMALL_BYTES)
    [missing] = objects(refused.stdout)
    assert (refused.returncode, missing["problems"][0]["reason"]) == (7, "model-not-found")
    assert missing["registry"] == home.registry.url


def test_a_gateway_is_called_one() -> None:
    version = json_answer(b'{"version":"0.1.0","ollama_push_gateway":true}')
    with ScriptedServer(answers={**HERE, "/api/version": version}) as server:
        done = run("check", NAME, "--host", server.url)
    assert done.stdout.splitlines()[0] == "server: gateway of ollama-push 0.1.0"


def test_none_says_only_what_is_wrong() -> None:
    with ScriptedServer(answers=HERE) as server:
        good = run("check", NAME, "--host", server.url, "--progress", "none")
        bad = run("check", MISSING, "--host", server.url, "--progress", "none")
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert (bad.returncode, bad.stdout) == (7, "")
    assert bad.stderr.startswith("problem: ")


def test_a_login_that_is_set_and_empty_is_told(tmp_path: Path) -> None:
    """A CI system passes a secret that it withholds as an empty variable: a stored login would be taken instead."""
    with at_home(tmp_path) as home:
        both = home.direct("push", OLLAMA_USERNAME="", OLLAMA_PASSWORD="")
        one = home.direct("check", OLLAMA_PASSWORD="")
        quiet = home.direct("push", "-q", OLLAMA_USERNAME="", OLLAMA_PASSWORD="")
    with at_home(tmp_path / "asks", auth=BasicAuth({"me": PASSWORD})) as home:
        half = home.direct("check", OLLAMA_USERNAME="me", OLLAMA_PASSWORD="")
    names = "OLLAMA_USERNAME and OLLAMA_PASSWORD are set and empty: they are"
    assert both.stderr.splitlines()[0] == f"warning: {names} not used, and a stored login is"
    assert one.stderr.startswith("warning: OLLAMA_PASSWORD is set and empty: it is not used")
    assert half.returncode == 2
    assert "OLLAMA_PASSWORD is set and empty; a login needs both" in half.stderr
    assert (quiet.returncode, quiet.stderr) == (0, "")
