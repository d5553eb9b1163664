"""``ollama-push registry``: there until it is stopped."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import attrs
import pytest
from tests.support.command import command, run
from tests.support.command_direct import PASSWORD, Home, at_home
from tests.support.stock_pull import PullFailed, StockPull

pytestmark = [pytest.mark.slow, pytest.mark.process]


@attrs.define
class Running:
    """A registry command and what it said when it was ready."""

    process: subprocess.Popen[str]
    said: str

    @property
    def host(self) -> str:
        found = re.search(r"^registry: http://(\S+), for tests and demos$", self.said, re.MULTILINE)
        assert found is not None, self.said
        return found[1]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        return self.process.wait(10), said


@contextmanager
def serving(home: Home, *options: str) -> Iterator[Running]:
    variables = {**home.variables, "TMPDIR": str(home.folder / "tmp")}
    (home.folder / "tmp").mkdir(exist_ok=True)
    with subprocess.Popen(
        command("registry", "--listen", "0", *options), stderr=subprocess.PIPE, text=True, env=variables
    ) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while lines[-1] not in ("Ctrl-C ends it.\n", ""):
            lines.append(process.stderr.readline())
        try:
            yield Running(process, "".join(lines))
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_takes_the_push_it_shows_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with at_home(tmp_path) as home, serving(home) as registry:
        shown = re.search(r"^push with: ollama-push (.*)$", registry.said, re.MULTILINE)
        assert shown is not None
        done = home.run(*shown[1].replace("MODEL", "my-llama").split())
        again = home.run(*shown[1].replace("MODEL", "my-llama").split())
        ended = registry.end(number)
        assert list((tmp_path / "tmp").iterdir()) == []
    assert (done.returncode, again.returncode) == (0, 0)
    assert "8.0 kB already there" in again.stderr
    assert ended == (0, "\nended\n")


def test_a_stock_pull_gets_what_was_pushed_and_not_from_one_that_does_not_redirect(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, serving(home) as registry:
        shown = re.search(r"^pull with: ollama pull --insecure http://([^/]+)/(\S+)$", registry.said, re.MULTILINE)
        assert shown is not None
        assert home.run("push", f"{shown[1]}/{shown[2]}", *home.options).returncode == 0
        assert StockPull(tmp_path / "pulled").pull(shown[1], shown[2]) == home.manifest
        said = home.run("verify", f"{shown[1]}/{shown[2]}", "--plain-http", "--from", "my-llama").stdout
        assert said.splitlines()[-1] == (
            "can a stock `ollama pull` get it? yes; the registry speaks plain HTTP: say `ollama pull --insecure`"
        )
    with at_home(tmp_path / "2") as home, serving(home, "--no-redirect") as registry:
        assert "pull with" not in registry.said
        assert home.run("push", f"{registry.host}/team/x", *home.options).returncode == 0
        with pytest.raises(PullFailed, match="no Location header"):
            StockPull(tmp_path / "pulled2").pull(registry.host, "team/x")


def test_data_is_kept_where_it_is_told_to(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    with at_home(tmp_path) as home:
        skipped = []
        for _ in range(2):
            with serving(home, "--data", str(data)) as registry:
                name = f"{registry.host}/team/x"
                done = home.run("push", name, *home.options)
                skipped.append("already there" in done.stderr)
                assert registry.end(signal.SIGINT)[0] == 0
    assert skipped == [False, True]


def test_a_user_must_log_in(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    with at_home(tmp_path) as home, serving(home, "--user", f"me:{tmp_path / 'password'}") as registry:
        name = f"{registry.host}/team/x"
        codes = [home.run("push", name, *home.options).returncode]
        shown = re.search(r"^log in with: ollama-push (.*)$", registry.said, re.MULTILINE)
        assert shown is not None
        codes.append(home.run(*shown[1].split(), "--password-stdin", typed=PASSWORD).returncode)
        codes.append(home.run("push", name, *home.options).returncode)
    assert codes == [6, 0, 0]
    assert PASSWORD not in registry.said


def test_a_port_in_use_is_wrong_usage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("registry", "--listen", address)
    assert done.returncode == 2
    assert done.stderr == f"error: --listen='{address}': cannot listen there: address already in use; choose another\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "x"], "expected [ADDRESS:]PORT"),
        (["--listen", "[::1]:0"], "expected an IPv4 address or a host name"),
        (["--data", "/dev/null/x"], "cannot be written: not a directory"),
        (["--user", "me"], "expected NAME:FILE"),
        (["--user", "me:/nowhere"], "the file cannot be read: no such file or directory"),
        (["--user", "me:/dev/zero"], "the file has a first line of more than 65536 bytes"),
        (["--user", "me:/dev/null"], "the file holds no password on its first line"),
    ],
)
def test_wrong_options_say_what_was_expected(options: list[str], said: str) -> None:
    done = run("registry", "--listen", "0", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_signs_urls_for_uploads_as_ollamas_registry_does(tmp_path: Path) -> None:
    asked = {"X-Redirect-Uploads": "2", "X-Content-Length": "7"}
    with at_home(tmp_path) as home, serving(home, "--sign-uploads", "both") as registry:
        assert home.run("push", f"{registry.host}/team/x", *home.options).returncode == 0
        with closing(HTTPConnection(registry.host)) as connection:
            connection.request("POST", "/v2/team/x/blobs/uploads/", headers=asked)
            headers = connection.getresponse().headers
    assert "/signed/" in headers["X-Direct-Upload-URL"]
    assert "/v2/team/x/blobs/uploads/" in headers["Docker-Upload-Location"]


def test_what_is_to_be_private_is_not_sent_to_it(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, serving(home) as registry:
        done = home.run("push", f"{registry.host}/team/x", "--private", *home.options)
        assert done.returncode == 2
        assert "only Ollama's own registry knows private models" in done.stderr
        several = home.run("push", f"{registry.host}/team/x", "--private", "--jobs", "2", *home.options)
        assert "does not go with --private" in several.stderr
        assert home.run("verify", f"{registry.host}/team/x", "--plain-http").returncode != 0
