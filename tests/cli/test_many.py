"""Many models in one run of the command: which ones, one verdict each, and going on where a run was stopped."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyte
import pytest
from tests.support.command_direct import Home, at_home
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stores import put_models
from tests.support.terminals import BAR, terminal

from ollama_push.core.batch import Shard
from ollama_push.core.registry.resume import UploadKey
from ollama_push.testing.registry import BasicAuth, Fault, Stall

pytestmark = pytest.mark.process

_COUNT: Final = 6
_PATIENCE_SECONDS: Final = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    put_models(tmp_path / "models", _COUNT)
    with at_home(tmp_path) as home:
        yield home


def _held(home: Home, place: str = "team/library") -> set[str]:
    """Return which of the models the registry has."""
    return {f"m{number}" for number in range(_COUNT) if home.registry.manifest(f"{place}/m{number}", "latest")}


_ALL: Final = {f"m{number}" for number in range(_COUNT)}


def _options(home: Home) -> tuple[str, ...]:
    return ("--direct", "--plain-http", "--retries", "0", "--to", f"{home.registry.host}/team")


def _reported(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_all_models_of_the_store_are_pushed(home: Home, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    done = home.run("push", "--all", *_options(home), "--jobs", "3", "--report", str(report))
    assert done.returncode == 0, done.stderr
    assert _held(home) == _ALL
    lines = done.stderr.splitlines()
    assert sum(line.startswith(f"pushed {home.registry.host}/team/library/") for line in lines) == _COUNT + 1
    assert lines[-1] == f"{_COUNT + 1} of {_COUNT + 1} models pushed"
    entries = _reported(report)
    assert len(entries) == _COUNT + 1
    assert {entry["verdict"] for entry in entries} == {"succeeded"}
    digests = {entry["source"]: entry["manifest_digest"] for entry in entries}
    assert all(digest.startswith("sha256:") for digest in digests.values())


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_a_list_is_read_from_stdin(transport: str, home: Home) -> None:
    text = f"# two of them\n{home.registry.host}/team/library/m1 m1\n\nm2\n"
    done = home.run("push", "--list", "-", *_options(home), "--transport", transport, typed=text)
    assert done.returncode == 0, done.stderr
    assert _held(home) == {"m1", "m2"}


def test_the_exit_code_is_that_of_the_first_failure_in_the_list(home: Home, tmp_path: Path) -> None:
    listed, report = tmp_path / "list", tmp_path / "report"
    listed.write_text("m0\nnone\nm1\nUpper/Case/x/y\nm2\n")
    done = home.run("push", "--list", str(listed), *_options(home), "--jobs", "4", "--report", str(report))
    assert done.returncode == 7
    assert _held(home) == {"m0", "m1", "m2"}
    assert "3 of 5 models pushed" in done.stderr
    codes = {entry["model"].partition("/team/library/")[2]: entry["exit_code"] for entry in _reported(report)}
    assert codes["m0:latest"] == 0
    assert codes["none:latest"] == 7
    failed = [entry for entry in _reported(report) if entry["verdict"] == "failed"]
    assert {entry["error"] for entry in failed} == {"PushRejected", "InvalidModelName"}
    assert all(entry["message"] for entry in failed)


@pytest.mark.slow
def test_an_illegal_name_is_shown_with_its_line(home: Home, tmp_path: Path) -> None:
    listed = tmp_path / "list"
    # As an editor of Windows writes it.
    listed.write_bytes(b"\xef\xbb\xbfm0\r\n\r\n# comment\r\nUpper!Name\r\nm1 m2\r\nm0\r\n")
    done = home.run("push", "--list", str(listed), *_options(home))
    assert done.returncode == 3
    assert _held(home) == {"m0", "m1"}
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.endswith(f"(line 4 of {listed})")
    assert "model 'Upper!Name' is not legal" in line
    assert done.stderr.splitlines()[-1] == "2 of 3 models pushed"


@pytest.mark.slow
def test_names_without_a_registry_are_told_of_the_option(home: Home) -> None:
    done = home.run("push", "--list", "-", "--direct", "--retries", "0", typed="m0\n")
    assert done.returncode == 3
    first, _count, last = done.stderr.splitlines()
    assert first.endswith("(line 1 of stdin)")
    assert last == "with --to HOST[/PATH], names without a registry or a namespace go there"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("m0\nm0 m1\n", "'library/m0:latest' and 'library/m1:latest': line 2 of stdin"),
        ("HOST/team/library/m0 m1\nm0\n", "'library/m1:latest' and 'library/m0:latest': line 2 of stdin"),
    ],
)
def test_two_models_for_one_name_are_refused(text: str, problem: str, home: Home) -> None:
    typed = text.replace("HOST", home.registry.host)
    done = home.run("push", "--list", "-", *_options(home), typed=typed)
    assert done.returncode == 2
    assert f"two models would be pushed there, {problem}" in done.stderr
    assert not home.registry.requests


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--list", "-"), ("--all", "--shard")])
def test_no_models_are_no_failure_and_are_called_so(arguments: tuple[str, ...], home: Home) -> None:
    said = "nothing to push"
    if arguments[-1] == "--shard":
        # The part of a model depends on the port in its name.
        names = [f"{home.registry.host}/team/library/{name}:latest" for name in (*_ALL, "my-llama")]
        part = next(f"{at}/2000" for at in range(1, 2001) if not any(Shard(at, 2000).has(name) for name in names))
        arguments, said = (*arguments, part), f"no model belongs to part {part}"
    done = home.run("push", *arguments, *_options(home), typed="\r\n# nothing\n")
    assert (done.returncode, done.stderr) == (0, f"{said}\n")
    assert home.run("push", *arguments, *_options(home), "--quiet").stderr == ""


@pytest.mark.slow
def test_a_login_that_is_wrong_is_not_tried_for_every_model(tmp_path: Path) -> None:
    put_models(tmp_path / "models", _COUNT)
    wrong = {"OLLAMA_USERNAME": "ann", "OLLAMA_PASSWORD": "wrong"}
    with at_home(tmp_path, auth=BasicAuth({"ann": "right"})) as home:
        report = tmp_path / "report"
        done = home.run("push", "--all", *_options(home), "--report", str(report), **wrong)
        tried = {seen.path.split("/")[4] for seen in home.registry.requests if seen.path.startswith("/v2/team/")}
    assert done.returncode == 6
    assert len(tried) == 3
    said = "it wants a login, or does not accept the one there is, for 3 models in a row"
    assert len(_reported(report)) == 3
    assert done.stderr.splitlines()[-2:] == [
        f"not begun: {_COUNT + 1 - 3} models of {home.registry.host}: {said}",
        f"0 of {_COUNT + 1} models pushed",
    ]


@pytest.mark.slow
def test_a_registry_that_is_not_there_is_not_asked_for_every_model(home: Home) -> None:
    text = "".join(f"127.0.0.1:1/team/m{number} m{number}\n" for number in range(_COUNT)) + "m0\n"
    done = home.run("push", "--list", "-", *_options(home), typed=text)
    assert done.returncode == 4
    assert done.stderr.count("error: ") == 3
    assert _held(home) == {"m0"}, "another registry is asked"
    assert done.stderr.splitlines()[-2:] == [
        f"not begun: {_COUNT - 3} models of 127.0.0.1:1: it was not reached for 3 models in a row",
        f"1 of {_COUNT + 1} models pushed",
    ]


def test_each_shard_pushes_its_part(home: Home) -> None:
    pushed = set[str]()
    for index in (1, 2, 3):
        done = home.run("push", "--all", *_options(home), "--shard", f"{index}/3")
        assert done.returncode == 0, done.stderr
        more = _held(home) - pushed
        assert more == {
            name for name in _ALL if Shard(index, 3).has(f"{home.registry.host}/team/library/{name}:latest")
        }
        pushed |= more
    assert pushed == _ALL


def test_a_run_goes_on_where_the_one_before_was(home: Home, tmp_path: Path) -> None:
    report = tmp_path / "report"
    options = (*_options(home), "--report", str(report), "--continue")
    listed = tmp_path / "list"
    listed.write_text("m0\nm1\nnone\n")
    assert home.run("push", "--list", str(listed), *options).returncode == 7
    with report.open("a") as file:
        file.write('{"model":"cut off in the mid')
    listed.write_text("m0\nm1\nm2\nnone\n")
    # What has changed since is pushed again.
    put_models(tmp_path / "models", 1)
    (tmp_path / "models/manifests/registry.ollama.ai/library/m1/latest").write_bytes(
        (tmp_path / "models/manifests/registry.ollama.ai/library/m5/latest").read_bytes()
    )
    before = len(home.registry.requests)
    done = home.run("push", "--list", str(listed), *options)
    assert done.returncode == 7
    assert "1 of 4 models were pushed already" in done.stderr
    asked = {seen.path.split("/")[4] for seen in home.registry.requests[before:] if "/team/library/" in seen.path}
    assert asked == {"m1", "m2"}
    assert [entry["verdict"] for entry in _reported_whole(report)] == ["succeeded", "succeeded", "failed"] * 2


def _reported_whole(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.endswith("}")]


@pytest.mark.slow
def test_a_report_that_cannot_be_written_ends_no_push(home: Home) -> None:
    """A device is not read, either: that would not end."""
    done = home.run("push", "--all", *_options(home), "--report", "/dev/full")
    assert done.returncode == 2
    assert _held(home) == _ALL
    assert done.stderr.splitlines()[-1] == (
        "error: the report cannot be written: no space left on device; the pushes went on without it"
    )


@pytest.mark.slow
def test_ctrl_c_ends_what_runs_and_begins_no_more(tmp_path: Path) -> None:
    put_models(tmp_path / "models", _COUNT)
    slow = Fault("PUT", path="/blobs/uploads/", times=None, action=Stall(0.2))
    with at_home(tmp_path, faults=[slow]) as home, home.running("--all", *_options(home)[4:], "--jobs", "2") as process:
        assert home.registry.wait_until(lambda: home.registry.received_bytes > 0, _PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        _out, said = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "interrupting after the part under way" in said
    assert "not begun: " in said


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_a_report_of_what_it_cancelled(tmp_path: Path) -> None:
    put_models(tmp_path / "models", _COUNT)
    listed, report = tmp_path / "list", tmp_path / "report"
    listed.write_text("m0\nm1\nm2\nm3\nm4\n")
    stuck = Fault("PUT", path="library/m[1-9]/blobs/uploads/", times=None, action=Stall(_PATIENCE_SECONDS))
    with (
        at_home(tmp_path, faults=[stuck]) as home,
        home.running("--list", str(listed), *_options(home)[4:], "--jobs", "2", "--report", str(report)) as process,
    ):
        put = {"m1", "m2"}
        assert home.registry.wait_until(
            lambda: put <= {seen.path.split("/")[4] for seen in home.registry.requests if seen.method == "PUT"},
            _PATIENCE_SECONDS,
        )
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "interrupting" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _out, said = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "cancelled: " in said
    # The one that is named by the command line, and the first of the list.
    assert said.splitlines()[-2:] == ["not begun: 2 models", "2 of 6 models pushed"]
    verdicts = {entry["source"]: entry["verdict"] for entry in _reported(report)}
    assert verdicts["library/m1:latest"] == verdicts["library/m2:latest"] == "cancelled"
    assert len(verdicts) == 4


def test_json_names_the_model_in_each_object(home: Home) -> None:
    done = home.run("push", "--all", *_options(home), "--jobs", "4", "--progress", "json")
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    succeeded = [each["model"] for each in objects if each["event"] == "succeeded"]
    assert len(set(succeeded)) == len(succeeded) == _COUNT + 1
    assert {each["model"] for each in objects} == set(succeeded)


@pytest.mark.slow
def test_quiet_says_failures_alone(home: Home, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("m0\nnone\n")
    done = home.run("push", "--list", str(tmp_path / "list"), *_options(home), "--quiet")
    assert done.returncode == 7
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {home.registry.host}/team/library/none:latest: ")


def test_a_terminal_has_one_bar_for_all(home: Home) -> None:
    arguments = ("push", "--all", *_options(home), "--jobs", "2", "--progress", "bar")
    with terminal(100, *arguments, **home.variables) as shown:
        assert shown.read_all() == 0
    assert f"{_COUNT + 1} of {_COUNT + 1} models" in shown.screen
    assert shown.screen.count("pushed ") >= _COUNT + 1


@pytest.mark.slow
@pytest.mark.slow
@needs_redis
def test_what_is_logged_stands_above_the_bar(home: Home, tmp_path: Path) -> None:
    """Here the warning of a Redis, in the middle of the pushes."""
    blob = json.loads((tmp_path / "models/manifests/registry.ollama.ai/library/m0/latest").read_bytes())["layers"][0][
        "digest"
    ]
    key = UploadKey(f"http://{home.registry.host}", "team/library/m0", blob)
    with RedisServer(tmp_path / "redis") as redis:
        redis.client().hset(f"ollama-push:{{{key.id}}}:upload", "version", "2")
        options = (*_options(home), "--resume", redis.url, "--progress", "bar")
        with terminal(200, "push", "--all", *options, **home.variables) as shown:
            assert shown.read_all() == 0
    screen = pyte.Screen(200, 24)
    pyte.Stream(screen).feed(shown.screen)
    rows = [row.rstrip() for row in screen.display if row.strip()]
    assert [row for row in rows if row.endswith("it holds keys of another version of ollama-push; the push goes on")]
    assert len([row for row in rows if BAR in row]) == 1, rows
    assert not screen.cursor.hidden


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "Missing argument 'NAME...'"),
        (("a/b", "--jobs", "2"), "--jobs needs --direct"),
        (("--list", "-"), "--list needs --direct"),
        (("h.example/a/b", "--direct", "--shard", "3/2"), "--shard='3/2': expected I/N"),
        (("h.example/a/b", "--direct", "--continue"), "--continue needs --report"),
        (("--direct", "--list", "/nonexistent"), "--list='/nonexistent': no such file or directory"),
        (("h.example/a/b", "--direct", "--report", "/nonexistent/x"), "--report='/nonexistent/x': no such file"),
        (("h.example/a/b", "--direct", "--report", "/"), "--report='/': is a directory"),
        (("h.example/a/b", "--direct", "--jobs", "0"), "0 is not in the range"),
    ],
)
def test_options_that_cannot_be_used_are_named(arguments: tuple[str, ...], problem: str, home: Home) -> None:
    done = home.run("push", *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
