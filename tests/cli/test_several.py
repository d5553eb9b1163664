"""Several models in one command, and what is measured and logged while it runs."""

import socket
import threading
from pathlib import Path

import pytest
import urllib3
from tests.support.command import HERE, LAYER, NAME, OTHER, REFUSED, SUCCESS, push, run, running

from ollama_push.testing.server import Await, ScriptedServer, chunk, json_answer, lines_answer

pytestmark = pytest.mark.process

REJECTED = lines_answer([b'{"error":"500: "}'])


def test_one_failure_does_not_stop_the_others_and_the_first_failure_is_the_exit_code() -> None:
    with ScriptedServer(REFUSED, SUCCESS, REJECTED, answers=HERE) as server:
        done = run("push", NAME, "llama3", OTHER, NAME, "--host", server.url, "--retries", "0")
        pushes = [request.body for request in server.requests if request.target == "/api/push"]
    assert done.returncode == 6
    assert [OTHER.encode() in body for body in pushes] == [False, True, False]
    verdicts = [line.split(",")[0] for line in done.stderr.splitlines() if line.startswith(("error", "pushed"))]
    assert [line.split(": ")[:2] for line in verdicts] == [
        ["error", f"{NAME}:latest"],
        ["error", "'llama3'"],
        [f"pushed {OTHER}:latest"],
        ["error", f"{NAME}:latest"],
    ]


def test_check_looks_at_every_name_and_exits_with_the_first_problem() -> None:
    with ScriptedServer(answers=HERE) as server:
        done = run("check", NAME, "localhost:5000/a/d", "llama3", "--host", server.url)
    assert done.returncode == 7
    verdicts = [line for line in done.stderr.splitlines() if not line.startswith("problem: ")]
    assert [line.rpartition(": ")[2] for line in verdicts] == ["ready", "not ready", "not ready"]


def test_metrics_are_served_while_pushing_and_no_longer() -> None:
    seen = threading.Event()
    script = [*lines_answer([LAYER % 40], end=False), Await(seen, 20), chunk(b'{"status":"success"}\n'), chunk(b"")]
    # Nothing else listens on this address, so that the port stays free until the command takes it.
    with socket.create_server(("127.0.7.1", 0)) as free:
        address = f"127.0.7.1:{free.getsockname()[1]}"
    with (
        ScriptedServer(script, answers=HERE) as server,
        running("push", NAME, "--host", server.url, "--metrics-port", address) as process,
        urllib3.PoolManager(timeout=10, retries=False) as pool,
    ):
        assert process.stderr is not None
        process.stderr.readline()
        page = pool.request("GET", f"http://{address}/metrics", headers={"Connection": "close"}).data.decode()
        seen.set()
        process.stderr.read()
        assert process.wait(10) == 0
        with pytest.raises(urllib3.exceptions.HTTPError):
            pool.request("GET", f"http://{address}/metrics")
    assert "\nollama_push_pushes_in_progress 1.0\n" in page
    assert "\nollama_push_attempts_total 1.0\n" in page
    assert "localhost:5000" not in page


def test_the_metrics_file_holds_the_sums_of_all_pushes(tmp_path: Path) -> None:
    file = tmp_path / "push.prom"
    with ScriptedServer(SUCCESS, REFUSED, answers=HERE) as server:
        done = run("push", NAME, OTHER, "--host", server.url, "--retries", "0", "--metrics-file", str(file))
    assert done.returncode == 6
    sums = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    assert {name: sums.get(name) for name in EXPECTED} == EXPECTED
    assert list(tmp_path.iterdir()) == [file]


EXPECTED = {
    'ollama_push_pushes_total{error="",outcome="succeeded"}': "1.0",
    'ollama_push_pushes_total{error="PushRejected",outcome="failed"}': "1.0",
    "ollama_push_pushes_in_progress": "0.0",
    "ollama_push_moved_bytes_total": "100.0",
    "ollama_push_attempts_total": "2.0",
    "ollama_push_rollbacks_total": "0.0",
}


def levels(said: str) -> list[str]:
    return [line.split(" ")[2] for line in said.splitlines() if line[:2] == "20"]


def test_each_v_logs_more_instead_of_the_lines() -> None:
    once, twice = push(SUCCESS, "-v").stderr, push(SUCCESS, "-vv").stderr
    assert set(levels(once)) == {"INFO"}
    assert set(levels(twice)) == {"INFO", "DEBUG"}
    assert "attempt 1 started" in twice
    assert "attempt 1 started" not in once
    assert len(levels(once)) == len(once.splitlines())


def test_v_logs_beside_a_display_that_was_asked_for() -> None:
    done = push(SUCCESS, "-v", "--progress", "json")
    assert done.stdout.count("\n") == 3
    assert set(levels(done.stderr)) == {"INFO"}


def test_q_says_nothing_but_errors() -> None:
    done = push(SUCCESS, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = push(REFUSED, "-q")
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == f"error: {NAME}:latest: the push was refused: unauthorized: access denied\n"


def test_a_check_that_only_stumbles_does_not_stop_a_push() -> None:
    broken = {"/api/version": json_answer(b"{}", 500), "/api/tags": json_answer(b"{}", 500)}
    with ScriptedServer(SUCCESS, answers=broken) as server:
        done = run("push", NAME, "--host", server.url)
    assert done.returncode == 0
    assert "% of all" not in done.stderr
