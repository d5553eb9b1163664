"""The shells, locales and other packages the command lives among."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.command import HERE, LAYER, NAME, OTHER, SUCCESS, push, run

from ollama_push.testing.server import ScriptedServer, json_answer, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process]

PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FOREIGN = '"M\N{LATIN SMALL LETTER U WITH DIAERESIS}ller"'.encode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_the_command(shell: str) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ollama-push" in done.stdout
    assert "_OLLAMA_PUSH_COMPLETE" in done.stdout


def test_bash_accepts_its_completion_script() -> None:
    script = run("completion", "bash").stdout
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "at", "offered"),
    [
        ("ollama-push pus", "1", ["plain,push"]),
        ("ollama-push push --progress js", "3", ["plain,json"]),
        ("ollama-push push --metrics-f", "2", ["plain,--metrics-file"]),
    ],
)
def test_bash_is_offered_the_words_that_fit(words: str, at: str, offered: list[str]) -> None:
    done = run(_OLLAMA_PUSH_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=at)
    assert done.stdout.split() == offered


@pytest.mark.parametrize("locale", ["C", "POSIX"])
@pytest.mark.parametrize("progress", ["lines", "bar", "json"])
def test_an_ascii_locale_prints_whatever_the_server_says(locale: str, progress: str) -> None:
    script = lines_answer([LAYER % 40, b'{"error":%s}' % FOREIGN])
    done = push(script, "--progress", progress, LC_ALL=locale, **PLAIN)
    assert done.returncode == 5
    assert "ller" in done.stderr + done.stdout
    assert "UnicodeEncodeError" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_an_ascii_locale_prints_whatever_a_check_finds(locale: str) -> None:
    answers = {
        **HERE,
        "/api/tags": json_answer(b'{"models":[{"name":"a/b:latest","size":1}]}'),
        "/api/me": json_answer(b'{"name":%s}' % FOREIGN),
    }
    with ScriptedServer(answers=answers) as server:
        done = run("check", "a/b", "--host", server.url, LC_ALL=locale, **PLAIN)
    assert (done.returncode, done.stderr) == (0, "a/b:latest: ready\n")
    assert "ller" in done.stdout


@pytest.mark.parametrize("surroundings", [{"NO_COLOR": "1"}, {"CI": "true"}, {"TERM": "dumb"}, {"COLUMNS": "40"}])
def test_a_pipe_gets_plain_lines_whatever_the_environment(surroundings: dict[str, str]) -> None:
    done = push(SUCCESS, **surroundings)
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert [line.split(" ")[0] for line in done.stderr.splitlines()] == ["pushing", "pushing", "pushed"]


TRANSPORT = """
from ollama_push.transports import Urllib3Transport

class Counting(Urllib3Transport):
    def __init__(self):
        super().__init__()
        print("somebody else's transport")

class Wild(Urllib3Transport):
    def open(self, request):
        if request.url.endswith("/api/push"):
            raise KeyError("a mistake of its own")
        return super().open(request)

class Wilder(Urllib3Transport):
    def open(self, request):
        raise KeyError("a mistake of its own")
"""


@pytest.fixture
def site(tmp_path: Path) -> str:
    """Return a PYTHONPATH with another package that brings transports."""
    (tmp_path / "their_transport.py").write_text(TRANSPORT)
    info = tmp_path / "their_transport-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-transport\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ollama_push.transports]\n"
        "counting = their_transport:Counting\n"
        "wild = their_transport:Wild\n"
        "wilder = their_transport:Wilder\n"
        "gone = their_transport:Gone\n"
        "lost = no_such_module:Transport\n"
    )
    return str(tmp_path)


def test_a_transport_of_another_package_is_used(site: str) -> None:
    done = push(SUCCESS, "--transport", "counting", PYTHONPATH=site)
    assert (done.returncode, done.stdout) == (0, "somebody else's transport\n")


def test_a_transport_that_raises_what_it_must_not_exits_with_1(site: str) -> None:
    done = push(SUCCESS, "--transport", "wild", PYTHONPATH=site)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {NAME}:latest: Wild raised KeyError('a mistake of its own')")
    assert done.stderr.count("\n") == 1


def test_a_transport_that_raises_in_the_check_already_does_not_stop_the_other_names(site: str) -> None:
    done = run("push", NAME, OTHER, "--transport", "wilder", PYTHONPATH=site, OLLAMA_HOST="http://127.0.0.1:1")
    assert done.returncode == 1
    assert [line.split(": Wilder raised")[0] for line in done.stderr.splitlines()] == [
        f"error: {NAME}",
        f"error: {OTHER}",
    ]


@pytest.mark.parametrize(
    ("transport", "options", "text"),
    [
        ("gone", [], "it cannot be loaded: module 'their_transport' has no attribute 'Gone'"),
        ("lost", [], "it cannot be loaded: No module named 'no_such_module'"),
        ("counting", ["--timeout", "3"], "it does not take --timeout"),
        ("nope", [], "installed are aiohttp, counting, gone, lost, urllib3, wild, wilder"),
    ],
)
def test_a_transport_that_cannot_be_built_is_wrong_usage(
    site: str, transport: str, options: list[str], text: str
) -> None:
    done = run("push", NAME, "--transport", transport, *options, PYTHONPATH=site)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_installed_script_is_the_module() -> None:
    script = Path(sys.executable).with_name("ollama-push")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == run("--version").stdout
