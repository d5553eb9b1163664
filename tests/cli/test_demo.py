"""``ollama-push demo``: a real push from nothing, which leaves nothing."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.command import command, environment
from tests.support.command_direct import at_home
from tests.support.terminals import BAR, HIDE, SHOW, terminal

from ollama_push.cli.demo import NEXT

pytestmark = [pytest.mark.slow, pytest.mark.process]


def surroundings(folder: Path) -> dict[str, str]:
    """A machine of its own, on which everything that is left would be found in ``home`` and ``tmp``."""
    variables = {}
    for name, variable in (("home", "HOME"), ("tmp", "TMPDIR"), ("state", "XDG_STATE_HOME")):
        (folder / name).mkdir(exist_ok=True)
        variables[variable] = str(folder / name)
    return {**variables, "OLLAMA_HOST": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}


def left_in(folder: Path) -> list[Path]:
    return [path for name in ("home", "tmp", "state") for path in (folder / name).iterdir()]


def test_it_pushes_three_times_verifies_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        command("demo"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**surroundings(tmp_path)),
    )
    assert (done.returncode, done.stdout) == (0, "")
    said = done.stderr
    assert len(re.findall(r"^pushed \S+my-llama:latest, 4 layers, 24\.0 MB, ", said, re.MULTILINE)) == 3
    assert len(set(re.findall(r"^\S+ holds the local model: 4 blobs, (sha256:\w{64})$", said, re.MULTILINE))) == 1
    assert said.count(" holds the local model: ") == 3
    assert len(re.findall(r"^PushReceipt\(model=\S+, layers=<4>, total_bytes=240\d+, ", said, re.MULTILINE)) == 3
    assert re.search(
        r"^PushReceipt\(.*direct/my-llama.* verified=True, retries=0, read_refused=False, pullability=<.*True>\)$",
        said,
        re.MULTILINE,
    )
    assert len(commands_in(said)) == 4
    assert left_in(tmp_path) == []


def commands_in(said: str) -> list[list[str]]:
    """Return the arguments of what is to be tried next, however the command is called."""
    called = re.escape(f"{sys.executable} -m ollama_push.cli")
    return [shlex.split(line) for line in re.findall(rf"^  (?:\S*ollama-push|{called}) (.*)$", said, re.MULTILINE)]


def test_a_terminal_sees_bars(tmp_path: Path) -> None:
    with terminal(100, "demo", **surroundings(tmp_path)) as screen:
        assert screen.read_all() == 0
    for heading in ("PushClient(gateway)", "await AsyncPushClient(gateway)", "RegistryClient().push"):
        part = screen.screen.partition(f"--- {heading}")[2].partition("\r\n---")[0]
        # Not only at its end: in the middle, which is what there is to see.
        assert re.search(r"\b[1-8]\d?%", part)
        assert BAR in part
        assert part.rindex(SHOW) > part.rindex(HIDE)
    assert left_in(tmp_path) == []


def test_what_is_to_be_tried_next_is_called_as_it_is_here(tmp_path: Path) -> None:
    """After `make demo` nothing is on the PATH: the hints name the script that ran."""
    script = tmp_path / "bin" / "ollama-push"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom ollama_push.cli import main\nmain()\n")
    script.chmod(0o755)
    for path, called in (("/nowhere", str(script)), (str(script.parent), "ollama-push")):
        done = subprocess.run(
            [script, "demo"], capture_output=True, text=True, timeout=60, check=True,
            env=environment(**surroundings(tmp_path), PATH=path),
        )  # fmt: skip
        assert f"\n  {called} registry\n" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("heading", ["PushClient", "await AsyncPushClient"])
def test_a_signal_ends_it_and_nothing_is_left(tmp_path: Path, number: signal.Signals, heading: str) -> None:
    variables = environment(**surroundings(tmp_path))
    with subprocess.Popen(command("demo"), stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stderr is not None
        said = ""
        while f"--- {heading}" not in said or not re.search(
            r"^pushing .* of all", said.rpartition("---")[2], re.MULTILINE
        ):
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(20) == 130
    assert rest.endswith("cancelled\n")
    assert "Traceback" not in rest
    assert left_in(tmp_path) == []


@contextmanager
def told(arguments: list[str], variables: dict[str, str]) -> Iterator[str]:
    """Run a server until the block is left, and yield what it said when it was ready."""
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while lines[-1] not in ("Ctrl-C ends it.\n", ""):
            lines.append(process.stderr.readline())
        try:
            yield "".join(lines)
        finally:
            process.kill()


def test_what_is_to_be_tried_next_works(tmp_path: Path) -> None:
    model, registry, serve, push = commands_in(NEXT.format(command="ollama-push"))
    with at_home(tmp_path) as home:
        assert home.run(*model).returncode == 0
        variables = {**home.variables, "TMPDIR": str(tmp_path)}
        with told([*registry, "--listen", "0"], variables) as said:
            host = said.partition("http://")[2].partition(",")[0]
            serve = [host if word == "localhost:5000" else word.replace(":11435", ":0") for word in serve]
            with told(serve, variables) as greeting:
                url = greeting.removeprefix("gateway: ").partition("\n")[0]
                done = home.run(*(url if word.endswith(":11435") else word for word in push))
    assert (done.returncode, done.stderr.splitlines()[-1].partition(",")[0]) == (0, "pushed myuser/my-llama:latest")
