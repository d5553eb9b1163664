"""The command measures and logs pushes that end before they begin, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.command import HERE, NAME, run

from ollama_push.testing.server import Script, ScriptedServer, json_answer

pytestmark = pytest.mark.process

CLOSED = "127.0.0.1:9"
"""Nobody listens there."""
SIGNED_OUT: dict[str, Script] = {
    **HERE,
    "/api/me": json_answer(b'{"error":"unauthorized","signin_url":"https://ollama.com/connect"}', 401),
    "/api/tags": json_answer(b'{"models":[{"name":"me/mine:latest","size":100}]}'),
}


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ([NAME, "--host", CLOSED], "ConnectFailed", f"pushing {NAME}"),
        (["my-llama", "--host", CLOSED], "InvalidModelName", "pushing my-llama"),
        (["localhost:5000/a/missing", "--host", "SERVER"], "PushRejected", "pushing localhost:5000/a/missing"),
        (["me/mine", "--host", "SERVER"], "ServerError", "pushing me/mine"),
        (["my-llama", "--direct"], "InvalidModelName", "pushing my-llama"),
        (["localhost:5000/a/missing", "--direct"], "PushRejected", "pushing localhost:5000/a/missing"),
        (["localhost:5000/a/b", "--direct", "--from", "nope"], "PushRejected", "pushing localhost:5000/a/b"),
    ],
    ids=["server down", "bad name", "model missing", "not signed in", "bad name, direct", "missing, direct", "from"],
)
def test_a_failure_of_the_preflight_is_measured_and_logged(
    arguments: list[str], error: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.prom"
    (tmp_path / "models" / "manifests").mkdir(parents=True)
    with ScriptedServer(answers=SIGNED_OUT) as server:
        arguments = [server.url if each == "SERVER" else each for each in arguments]
        environment = {"OLLAMA_MODELS": str(tmp_path / "models"), "OLLAMA_HOST": ""}
        done = run("push", *arguments, "-v", "--metrics-file", str(file), **environment)
    assert done.returncode not in (0, 1, 2), done.stderr
    assert f'ollama_push_pushes_total{{error="{error}",outcome="failed"}} 1.0' in file.read_text()
    assert said in done.stderr
    assert done.stderr.count("push failed:") == 1


def test_with_json_there_is_one_verdict(tmp_path: Path) -> None:
    done = run("push", NAME, "--host", CLOSED, "--progress", "json", "--metrics-file", str(tmp_path / "x.prom"))
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events.count("failed") == 1
    assert events[-1] == "failed"
