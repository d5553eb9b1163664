"""Bad input and bad surroundings: one line that says what to do, the right exit code, never a traceback."""

import json
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from tests.support.command import HERE, LAYER, NAME, SUCCESS, command, environment, push, run, running

from ollama_push.testing.server import Await, ScriptedServer, chunk, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process]

SECRET = "hunter2"
WRONG: list[tuple[str, list[str], int, str]] = [
    ("transport", ["--transport", "nope"], 2, "no such transport; installed are aiohttp, urllib3"),
    ("ca", ["--ca", "/nowhere/ca.pem"], 2, "no readable PEM certificates: no such file or directory"),
    ("ca not PEM", ["--ca", __file__, "--transport", "aiohttp"], 2, "no readable PEM certificates"),
    ("metrics file", ["--metrics-file", "/nowhere/x.prom"], 2, "cannot be written: no such file or directory"),
    ("metrics port", ["--metrics-port", "http"], 2, "expected [ADDRESS:]PORT"),
    ("metrics port high", ["--metrics-port", "65536"], 2, "a port from 0 to 65535"),
    ("host", ["--host", "ftp://x"], 2, "the scheme must be http or https"),
    ("host bracket", ["--host", "http://[::1"], 2, "expected host, host:port or http(s)://host:port"),
    ("timeout", ["--timeout", "-1"], 2, "expected seconds above 0"),
    ("timeout nan", ["--timeout", "nan"], 2, "expected seconds above 0"),
    ("timeout inf", ["--timeout", "inf"], 2, "expected seconds above 0"),
    ("stall", ["--stall-timeout", "-1"], 2, "or 0 for never"),
    ("stall nan", ["--stall-timeout", "nan"], 2, "or 0 for never"),
    ("retries", ["--retries", "-1"], 2, "-1 is not in the range x>=0"),
]


@pytest.mark.parametrize(("options", "code", "text"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_a_wrong_option_says_what_was_expected(options: list[str], code: int, text: str) -> None:
    done = run("push", NAME, *options, OLLAMA_HOST="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "header",
    [SECRET, f"X {SECRET}", f"X={SECRET}", f": {SECRET}", f"Authorization Basic {SECRET}:x", f"X: a\r\n{SECRET}"],
)
def test_a_wrong_header_is_refused_and_no_part_of_its_value_is_shown(header: str) -> None:
    done = run("push", NAME, "--header", header, OLLAMA_HOST="http://127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr


def test_a_header_is_sent_with_every_request() -> None:
    with ScriptedServer(SUCCESS, answers=HERE) as server:
        done = run("push", NAME, "--host", server.url, "--header", "X-Team: a: b")
        assert [request.headers["x-team"] for request in server.requests] == ["a: b"] * len(server.requests)
    assert done.returncode == 0


def test_a_name_that_would_move_the_cursor_is_spelled_out() -> None:
    done = run("push", "a/b\x1b[31m")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr
    done = run("check", "a/b\x1b[31m")
    assert done.returncode == 3
    assert "\x1b" not in done.stdout + done.stderr


def test_a_refusal_that_would_move_the_cursor_is_spelled_out_in_one_line() -> None:
    done = push(lines_answer([rb'{"error":"no\u001b[2J\nway"}']))
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert r"no\x1b[2J" in done.stderr


def test_a_metrics_port_in_use_is_found_out_before_the_push() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, ScriptedServer(SUCCESS, answers=HERE) as server:
        port = str(taken.getsockname()[1])
        done = run("push", NAME, "--host", server.url, "--metrics-port", port)
        assert server.accepted == 0
    assert done.returncode == 2
    assert (
        done.stderr == f"error: --metrics-port='{port}': cannot listen there: address already in use; choose another\n"
    )


def test_a_metrics_file_lost_in_mid_push_does_not_turn_success_into_failure(tmp_path: Path) -> None:
    folder, gone = tmp_path / "metrics", threading.Event()
    folder.mkdir()
    script = [*lines_answer([LAYER % 40], end=False), Await(gone, 20), chunk(b'{"status":"success"}\n'), chunk(b"")]
    with (
        ScriptedServer(script, answers=HERE) as server,
        running("push", NAME, "--host", server.url, "--metrics-file", str(folder / "x.prom")) as process,
    ):
        assert process.stderr is not None
        process.stderr.readline()
        (folder / "x.prom").unlink()
        folder.rmdir()
        gone.set()
        said = process.stderr.read()
        assert process.wait(10) == 0
    assert said.splitlines()[-1].startswith("warning: --metrics-file=")


def test_a_reader_of_the_json_who_leaves_does_not_stop_the_push() -> None:
    left = threading.Event()
    script = [*lines_answer([LAYER % 40], end=False), Await(left, 20), *SUCCESS[1:]]
    with (
        ScriptedServer(script, answers=HERE) as server,
        running("push", NAME, "--host", server.url, "--progress", "json") as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["completed"] == 40
        process.stdout.close()
        left.set()
        said = process.stderr.read()
        assert process.wait(10) == 0
    assert said == "stdout cannot be written (Broken pipe): no more JSON. The push goes on; Ctrl-C stops it.\n"


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@needs_full
def test_a_full_disk_under_the_json_does_not_stop_the_push() -> None:
    with ScriptedServer(SUCCESS, answers=HERE) as server, FULL.open("w") as full:
        done = subprocess.run(
            command("push", NAME, "--host", server.url, "--progress", "json"),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False, env=environment(),
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.startswith("stdout cannot be written (No space left on device)")
    assert done.stderr.count("\n") == 1


@needs_full
def test_a_full_disk_under_the_messages_does_not_stop_the_push() -> None:
    with ScriptedServer(SUCCESS, answers=HERE) as server, FULL.open("w") as full:
        arguments = command("push", NAME, "--host", server.url)
        assert subprocess.run(arguments, stderr=full, timeout=30, check=False, env=environment()).returncode == 0


@needs_full
def test_a_full_disk_under_a_completion_script_is_told() -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            command("completion", "bash"),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False, env=environment(),
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", ">&- 2>&- --progress json", "2>&- --progress bar"])
def test_closed_standard_streams_do_not_stop_the_push(closed: str) -> None:
    with ScriptedServer(SUCCESS, answers=HERE) as server:
        line = f'"$@" {closed}'
        arguments = ["sh", "-c", line, "sh", *command("push", NAME, "--host", server.url)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False, env=environment())
        assert [request.target for request in server.requests].count("/api/push") == 1
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def hidden(package: str, folder: Path) -> str:
    """Return a PYTHONPATH under which *package* is not installed."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hider:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hider())\n"
    )
    return str(folder)


@pytest.mark.parametrize("option", ["--metrics-port=0", "--metrics-file=x.prom"])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(option: str, tmp_path: Path) -> None:
    path = hidden("prometheus_client", tmp_path)
    done = run("push", NAME, option, PYTHONPATH=path, OLLAMA_HOST="http://127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.endswith(": needs: pip install 'ollama-push[prometheus]'\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_its_extra_the_command_says_how_to_get_it(package: str, tmp_path: Path) -> None:
    done = run(
        "push", NAME, "--progress", "bar", PYTHONPATH=hidden(package, tmp_path), OLLAMA_HOST="http://127.0.0.1:1"
    )
    assert done.returncode == 2
    assert done.stderr == "the command needs more packages: pip install 'ollama-push[cli]'\n"
