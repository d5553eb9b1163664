"""The command from outside: a real process, its exit code, what it prints where."""

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence

import pytest
from tests.support.command import LAYER, NAME, REFUSED, command, run

from ollama_push.testing.server import Hold, Script, ScriptedServer, json_answer, lines_answer

pytestmark = pytest.mark.process

SUCCESS = lines_answer(
    [b'{"status":"retrieving manifest"}', LAYER % 40, LAYER % 40, LAYER % 100, b'{"status":"success"}']
)
HERE: Mapping[str, Script] = {
    "/api/version": json_answer(b'{"version":"0.32.15"}'),
    "/api/tags": json_answer(b'{"models":[{"name":"localhost:5000/a/b:latest","size":100}]}'),
    "/api/me": json_answer(b'{"error":"unauthorized","signin_url":"https://ollama.com/connect?x=y"}', 401),
}


def push(script: Script, *arguments: str, answers: Mapping[str, Script] = HERE) -> subprocess.CompletedProcess[str]:
    with ScriptedServer(script, answers=answers) as server:
        return run("push", NAME, "--host", server.url, "--retries", "0", *arguments)


def test_success_tells_people_on_stderr_and_exits_with_0() -> None:
    done = push(SUCCESS)
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "retrieving manifest",
        "pushing 49a7f1752a33 40 B of 100 B, 40% of all",
        "pushing 49a7f1752a33 100 B of 100 B, 99% of all",
    ]
    assert lines[3].startswith("pushed localhost:5000/a/b:latest, 1 layer, 100 B, in 0.")


def test_json_is_one_object_a_line_with_the_receipt_last() -> None:
    done = push(SUCCESS, "--progress", "json")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [(found["event"], found.get("completed"), found.get("overall")) for found in objects] == [
        ("status", None, None),
        ("progress", 40, 0.4),
        ("progress", 100, 0.999999),
        ("succeeded", None, None),
    ]
    assert objects[-1]["layers"] == [{"digest": "sha256:49a7", "total_bytes": 100}]
    assert {found["model"] for found in objects} == {"localhost:5000/a/b:latest"}


def test_json_says_why_it_failed() -> None:
    done = push(REFUSED, "--progress", "json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == last["exit_code"] == 6
    assert (last["event"], last["error"], last["reason"]) == ("failed", "PushRejected", "unauthorized")


def test_none_prints_nothing_on_success_and_the_error_on_failure() -> None:
    done = push(SUCCESS, "--progress", "none")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = push(REFUSED, "--progress", "none")
    assert done.stderr == f"error: {NAME}:latest: the push was refused: unauthorized: access denied\n"


EXITS: Sequence[tuple[str, Script, int]] = [
    ("rejected", lines_answer([b'{"error":"500: "}']), 5),
    ("unauthorized", REFUSED, 6),
    ("missing", lines_answer([b'{"error":"open /m/manifests/h/n/m/t: no such file or directory"}']), 7),
    ("server error", json_answer(b'{"error":"no"}', 400), 5),
    ("server 401", json_answer(b'{"error":"no"}', 401), 6),
    ("malformed", lines_answer([b"nope"]), 8),
    ("truncated", lines_answer([b'{"status":"a"}']), 8),
]


@pytest.mark.parametrize(("script", "code"), [pytest.param(*row[1:], id=row[0]) for row in EXITS])
def test_each_ending_has_its_exit_code(script: Script, code: int) -> None:
    done = push(script)
    assert done.returncode == code
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_cannot_be_pushed_exits_with_3_before_any_io() -> None:
    with ScriptedServer() as server:
        done = run("push", "llama3", "--host", server.url)
        assert (done.returncode, server.accepted) == (3, 0)
    assert "use the form 'myuser/llama3'" in done.stderr


def test_no_server_exits_with_4_and_says_what_to_try() -> None:
    with ScriptedServer() as server:
        url = server.url
    done = run("push", NAME, OLLAMA_HOST=url)
    assert done.returncode == 4
    assert f"nothing listens at {url}; is it running?" in done.stderr


def test_a_model_the_server_does_not_have_is_found_out_before_the_push() -> None:
    with ScriptedServer(SUCCESS, answers=HERE) as server:
        done = run("push", "localhost:5000/a/c", "--host", server.url)
        assert all(request.target != "/api/push" for request in server.requests)
    assert done.returncode == 7
    assert "the nearest are 'localhost:5000/a/b:latest'" in done.stderr


def test_wrong_usage_exits_with_2() -> None:
    assert run("push").returncode == 2
    assert run("push", NAME, "--progress", "loud").returncode == 2
    done = run("push", NAME, "--host", "ftp://x")
    assert done.returncode == 2
    assert done.stderr == "error: --host='ftp://x': the scheme must be http or https\n"


def test_without_a_command_people_see_the_help_line_by_line() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stderr.replace("\n", " ").split() == run("--help").stdout.replace("\n", " ").split()
    assert done.stderr.splitlines()[0] == "Usage: ollama-push [OPTIONS] COMMAND [ARGS]..."


@pytest.mark.parametrize(("typed", "meant"), [("puhs", "push"), ("logins", "login"), ("test-model", "testmodel")])
def test_a_command_that_is_misspelt_is_guessed(typed: str, meant: str) -> None:
    done = run(typed, "x")
    assert done.returncode == 2
    assert done.stderr.endswith(f"Error: No such command '{typed}'. Did you mean '{meant}'?\n")


def test_a_command_that_is_like_none_is_not_guessed() -> None:
    assert run("quantize").stderr.endswith("Error: No such command 'quantize'.\n")


def test_check_says_what_is_known_and_uploads_nothing() -> None:
    with ScriptedServer(answers=HERE) as server:
        done = run("check", NAME, "--host", server.url)
        assert [request.target for request in server.requests] == ["/api/version", "/api/tags"]
    assert (done.returncode, done.stderr) == (0, "localhost:5000/a/b:latest: ready\n")
    assert done.stdout == "server: Ollama 0.32.15\nmodel: localhost:5000/a/b:latest, 100 B\n"


def test_check_gives_the_sign_in_url_for_ollamas_own_registry() -> None:
    with ScriptedServer(answers=HERE) as server:
        done = run("check", "a/b", "--host", server.url)
    assert done.returncode == 7  # the first problem decides: the model is not there either
    assert "(sign in at https://ollama.com/connect?x=y)" in done.stderr


def test_ctrl_c_hangs_up_says_how_to_go_on_and_exits_with_130() -> None:
    with ScriptedServer([*lines_answer([LAYER % 40], end=False), Hold()], answers=HERE) as server:
        process = subprocess.Popen(command("push", NAME, "--host", server.url), stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("pushing 49a7f1752a33")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        process.stderr.close()
        assert process.wait(10) == 130
        assert server.peer_closed.wait(2)
    assert "run the same command again to send the others" in said
    assert "Traceback" not in said


def test_version_and_help_exit_with_0() -> None:
    assert run("--version").stdout.startswith("ollama-push 0.")
    assert "130 Ctrl-C" in run("--help").stdout.replace("\n  ", " ")
    assert run("push", "--help").returncode == 0
