"""A stderr that cannot be written, and a state directory that cannot: the push goes on, and its verdict counts."""

import json
import os
import shlex
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from tests.support.command import HERE, LAYER, NAME, OTHER, REFUSED, SUCCESS, command, environment, without_coverage
from tests.support.command_direct import PASSWORD, Home, at_home
from tests.support.terminals import terminal

from ollama_push.cli.metrics import metrics_hooks
from ollama_push.core.errors import InvalidSetting
from ollama_push.testing.registry import BasicAuth
from ollama_push.testing.server import Await, ScriptedServer, chunk, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process]

FULL = Path("/dev/full")
PROGRESS = pytest.mark.parametrize("progress", ["bar", "lines", "json", "none"])


def push_both(url: str, progress: str, redirection: str) -> int:
    words = [*command("push", NAME, OTHER, "--host", url, "--retries", "0", "--progress", progress)]
    line = f"{shlex.join(words)} {redirection}"
    return subprocess.run(
        ["/bin/sh", "-c", line], stdout=subprocess.DEVNULL, timeout=30, check=False, env=environment()
    ).returncode


@PROGRESS
@pytest.mark.parametrize(
    "redirection",
    ["2>&-", pytest.param(f"2>{FULL}", marks=pytest.mark.skipif(not FULL.exists(), reason="Linux has it"))],
)
def test_every_model_is_pushed_and_the_exit_code_is_the_pushes(progress: str, redirection: str) -> None:
    for first, code in ((SUCCESS, 0), (REFUSED, 6)):
        with ScriptedServer(first, SUCCESS, answers=HERE) as server:
            assert push_both(server.url, progress, redirection) == code
            assert sum(request.target == "/api/push" for request in server.requests) == 2


def test_a_terminal_that_goes_away_in_mid_push_does_not_end_it() -> None:
    gone = threading.Event()
    script = [*lines_answer([LAYER % 40], end=False), Await(gone, 20), chunk(LAYER % 60 + b"\n"), *SUCCESS[1:]]
    with (
        ScriptedServer(script, SUCCESS, answers=HERE) as server,
        terminal(80, "push", NAME, OTHER, "--host", server.url, "--progress", "bar") as screen,
    ):
        screen.read_until(" 40%")
        screen.hang_up()
        gone.set()
        assert screen.process.wait(20) == 0
        assert sum(request.target == "/api/push" for request in server.requests) == 2


def without_state(home: Home, *options: str) -> subprocess.CompletedProcess[str]:
    (home.folder / "state").write_text("a file")
    return home.run("push", home.name, f"{home.registry.host}/team/other", *home.options, *options)


def test_a_state_directory_that_cannot_be_used_is_told_once_and_the_push_goes_on(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = without_state(home)
        assert home.pushed()
        assert home.pushed("team/other")
    assert done.returncode == 0
    first = done.stderr.splitlines()[0]
    folder = tmp_path / "state" / "ollama-push" / "uploads"
    assert first.startswith(f"warning: unfinished uploads cannot be kept in {folder}: not a directory; ")
    assert "sends its unfinished blobs again from the start" in first
    assert done.stderr.count("warning") == 1


@pytest.mark.parametrize("option", ["--quiet", "--no-resume"])
def test_nothing_is_told_of_a_directory_that_nobody_wants_to_hear_of(tmp_path: Path, option: str) -> None:
    with at_home(tmp_path) as home:
        done = without_state(home, option)
    assert done.returncode == 0
    assert "warning" not in done.stderr


def test_a_directory_that_can_be_used_is_not_told_of(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("push")
    assert done.returncode == 0
    assert "warning" not in done.stderr
    left = os.listdir(tmp_path / "state" / "ollama-push" / "uploads")  # noqa: PTH208 - names
    assert sorted(left) == ["directory.lock", "registries"]


def test_a_state_directory_that_others_may_write_to_is_not_used_and_told(tmp_path: Path) -> None:
    """A planted session would send the model elsewhere."""
    folder = tmp_path / "state" / "ollama-push" / "uploads"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, *home.options)
        assert home.pushed()
    assert done.returncode == 0
    assert done.stderr.startswith(
        f"warning: unfinished uploads cannot be kept in {folder}: other users may write to it; "
    )
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "docker" / "config.json"
    config.parent.mkdir()
    config.write_text('{"psFormat": "t"}')
    with at_home(tmp_path, auth=BasicAuth({"me": PASSWORD})) as home:
        words = command("login", home.registry.host, "--plain-http", "-u", "me", "--password-stdin")
        done = subprocess.run(
            ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *words],
            input=PASSWORD,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=without_coverage(home.variables),
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: docker config=")
    assert done.stderr.endswith(": the file cannot be written: File too large\n")
    assert done.stderr.count("\n") == 1
    assert config.read_text() == '{"psFormat": "t"}'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links for others")
def test_the_metrics_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Of another user, neither in its own place nor in that of a temporary file that prometheus_client would name."""
    folder, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("mine")
    file = folder / "x.prom"
    planted = folder / f"x.prom.{os.getpid()}.{threading.get_ident()}"
    planted.symlink_to(elsewhere)
    with metrics_hooks(None, str(file)):
        assert elsewhere.read_text() == "mine"
    assert "ollama_push_pushes" in file.read_text()
    file.unlink()
    file.symlink_to(elsewhere)
    os.lchown(file, 12345, 12345)
    with pytest.raises(InvalidSetting, match="it is a link of another user"), metrics_hooks(None, str(file)):
        pass
    assert elsewhere.read_text() == "mine"
    assert sorted(folder.iterdir()) == [file, planted]


def push_measured(file: str | Path, *words: str, redirection: str = "") -> subprocess.CompletedProcess[str]:
    with ScriptedServer(SUCCESS, answers=HERE) as server:
        line = shlex.join([*command("push", NAME, "--host", server.url, "--metrics-file", str(file), *words)])
        return subprocess.run(
            ["/bin/sh", "-c", f"{line} {redirection}"],
            capture_output=True, text=True, timeout=30, check=False, env=environment(),
        )  # fmt: skip


def test_an_own_link_to_the_metrics_file_stays_and_what_it_leads_to_keeps_its_mode(tmp_path: Path) -> None:
    real, link, dangling = tmp_path / "real.prom", tmp_path / "link.prom", tmp_path / "dangling.prom"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("real.prom")
    dangling.symlink_to(tmp_path / "new.prom")
    for each in (link, dangling):
        assert push_measured(each).returncode == 0
        assert each.is_symlink()
        assert "ollama_push_pushes_total" in each.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == sorted([real, link, dangling, tmp_path / "new.prom"])


def test_the_metrics_go_into_a_pipe_that_somebody_reads(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        done = push_measured(pipe)
        said = os.read(reader, 1 << 20)
    finally:
        os.close(reader)
    assert (done.returncode, pipe.is_fifo()) == (0, True)
    assert said.count(b"ollama_push_attempts_total 1.0") == 1


def test_a_pipe_that_nobody_reads_is_refused_before_the_push(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = push_measured(pipe)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: --metrics-file='{pipe}': cannot be written: nothing reads this pipe\n",
    )
    assert pipe.is_fifo()


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_stays_one(device: str, tmp_path: Path) -> None:
    """Under a second name, so that a failure takes nothing from this machine."""
    known = Path(device)
    if not known.is_char_device():
        pytest.skip(f"{device} is no device here")
    twin = tmp_path / "device"
    try:
        os.mknod(twin, 0o600 | stat.S_IFCHR, known.stat().st_rdev)
        twin.open("wb").close()
    except PermissionError:
        pytest.skip("devices can be made by root alone, and not everywhere")
    done = push_measured(twin)
    assert (done.returncode, twin.is_char_device()) == (0, True)
    warnings = [line.rpartition(": ")[2] for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert warnings == (["no space left on device"] if device == "/dev/full" else [])


def test_the_metrics_may_stand_behind_the_json(tmp_path: Path) -> None:
    """A file that is the command's own output is written in place: whatever replaced it would not hold the JSON."""
    both = tmp_path / "both"
    done = push_measured("/dev/stdout", "--progress", "json", redirection=f">{both}")
    assert done.returncode == 0
    lines = both.read_text().splitlines()
    assert json.loads(lines[0])["event"] == "progress"
    assert "ollama_push_attempts_total 1.0" in lines
