"""``ollama-push serve``: the gateway as a process, from what it says when it is ready to how it ends."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import attrs
import pytest
from tests.support.blobs import digest_of
from tests.support.command import command, run
from tests.support.command_direct import Home, at_home
from tests.support.gateway_process import wait_until
from tests.support.redis_server import UNUSABLE, RedisServer, needs_redis
from tests.support.stock_pull import StockPull
from tests.support.stores import CONFIG, put_model
from tests.support.terminals import terminal

from ollama_push.cli.serve import welcome_lines
from ollama_push.gateway import GatewaySettings
from ollama_push.local import ModelStore
from ollama_push.testing.registry import Fault, Stall

pytestmark = [pytest.mark.slow, pytest.mark.process]

PATIENCE = 20.0
NAME = "myuser/my-llama"
TOKEN = "correct-horse-battery"
BOTH_SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


@attrs.frozen
class Serving:
    """The command while it serves, and what it said when it was ready."""

    process: subprocess.Popen[str]
    said: str

    @property
    def url(self) -> str:
        found = re.search(r"^gateway: (\S+)$", self.said, re.MULTILINE)
        assert found is not None, self.said
        return found[1]

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host.strip("[]"), int(port)

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        connection = HTTPConnection(*self.address, timeout=PATIENCE)
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def location(self, target: str) -> str:
        """Return where *target* is redirected to."""
        connection = HTTPConnection(*self.address, timeout=PATIENCE)
        try:
            connection.request("GET", target)
            return connection.getresponse().headers["Location"] or ""
        finally:
            connection.close()

    def refuses_connections(self) -> bool:
        try:
            socket.create_connection(self.address, timeout=PATIENCE).close()
        except OSError:
            return True
        return False

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        return self.process.wait(PATIENCE), said


@contextmanager
def serving(home: Home, *options: str, listen: str = "0", **changed: str) -> Iterator[Serving]:
    """Run the gateway of *home*, for its registry, which also holds the model ``NAME``."""
    put_model(home.folder / "models", f"registry.ollama.ai/{NAME}/latest", (b"weights " * 200_000,))
    arguments = ("serve", "--listen", listen, "--default-registry", home.registry.host, "--plain-http", *options)
    with subprocess.Popen(
        command(*arguments), stderr=subprocess.PIPE, text=True, env={**home.variables, **changed}
    ) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while lines[-1] not in ("Ctrl-C ends it.\n", ""):
            lines.append(process.stderr.readline())
        try:
            yield Serving(process, "".join(lines))
        finally:
            process.kill()


def test_it_says_what_there_is_to_know(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, serving(home) as gateway:
        assert gateway.said.splitlines() == [
            f"gateway: {gateway.url}",
            f"models: {tmp_path / 'models'}",
            f"names without a host go to: {home.registry.host}",
            f"pull with: ollama pull --insecure {gateway.url}/NAMESPACE/MODEL",
            f"status page: {gateway.url}/ui",
            f"metrics: {gateway.url}/metrics",
            f"clients need: OLLAMA_HOST={gateway.url}",
            "Ctrl-C ends it.",
        ]
        assert [gateway.ask("GET", target)[0] for target in ("/", "/ui", "/metrics", "/healthz")] == [200] * 4


def test_a_stock_pull_gets_what_was_pushed_through_it_and_the_cache_keeps_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with at_home(tmp_path) as home:
        with serving(home, "--cache", str(cache), "--cache-size", "10MB") as gateway:
            assert f"pulled blobs are kept in: {cache}, 10.0 MB at most\n" in gateway.said
            assert home.run("push", NAME, OLLAMA_HOST=gateway.url).returncode == 0
            raw = home.registry.manifest(NAME, "latest")
            host = gateway.url.removeprefix("http://")
            assert StockPull(tmp_path / "pulled").pull(host, NAME) == raw
            assert gateway.end()[0] == 0
        # The secret that signs the addresses of blobs outlives the gateway.
        assert len(list((tmp_path / "state").rglob("ollama-push/pulls/key"))) == 1
    assert len([path for path in cache.iterdir() if path.name.startswith("sha256-")]) == 2


def test_gateways_that_share_a_key_know_the_addresses_of_each_other(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "other").write_text("another key, of a gateway elsewhere\n")
    with at_home(tmp_path) as home:
        home.direct("push")
        shared = ("--pull-key-file", str(tmp_path / "key"))
        with serving(home, *shared) as first, serving(home, *shared) as second:
            name, digest = home.name.partition("/")[2], digest_of(CONFIG)
            where = first.location(f"/v2/{name}/blobs/{digest}").partition("/direct/")[2]
            assert second.ask("GET", f"/direct/{where}") == (200, CONFIG)
        with serving(home, "--pull-key-file", str(tmp_path / "other")) as third:
            assert third.ask("GET", f"/direct/{where}")[0] == 403


def test_pulls_are_switched_off(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, serving(home, "--no-pull") as gateway:
        assert "pull with" not in gateway.said
        assert gateway.ask("GET", "/v2/")[0] == 404


@BOTH_SIGNALS
def test_clients_push_through_it_until_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    with at_home(tmp_path) as home, serving(home) as gateway:
        done = home.run("push", NAME, OLLAMA_HOST=gateway.url)
        assert home.registry.manifest(NAME, "latest") is not None
        ended = gateway.end(number)
    assert (done.returncode, done.stderr.splitlines()[-1].partition(",")[0]) == (0, f"pushed {NAME}:latest")
    assert pushes_in(ended[1]) == [f"pushed {home.registry.host}/{NAME}:latest to {home.registry.url}"]
    assert (ended[0], ended[1].splitlines()[1:]) == (0, ["ended"])


def pushes_in(said: str) -> list[str]:
    """Return the lines of pushes in the log, without times and what follows them."""
    logged = re.findall(
        r"^[\d-]+ [\d:,]+ ((?:pushed|failed|cancelled|refused) .*?)(?: in | after |: )", said, re.MULTILINE
    )
    return [str(line) for line in logged]


STUCK = Fault("PUT", "/blobs/uploads/", times=None, after_bytes=500_000, action=Stall(60.0))


@contextmanager
def in_mid_push(home: Home) -> Iterator[tuple[Serving, subprocess.Popen[str]]]:
    with (
        serving(home) as gateway,
        subprocess.Popen(
            command("push", NAME, "--host", gateway.url, "--retries", "0", "--progress", "json"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=home.variables,
        ) as client,
    ):  # fmt: skip
        try:
            assert home.registry.wait_until(lambda: home.registry.received_bytes >= 500_000, PATIENCE)
            yield gateway, client
        finally:
            client.kill()


@BOTH_SIGNALS
def test_a_push_under_way_is_ended_with_an_error_line(tmp_path: Path, number: signal.Signals) -> None:
    slow = Fault("PUT", "/blobs/uploads/", times=None, after_bytes=500_000, action=Stall(1.0))
    with at_home(tmp_path, faults=[slow]) as home, in_mid_push(home) as (gateway, client):
        code, said = gateway.end(number)
        assert (code, said.splitlines()[1:]) == (0, ["ended"])
        assert pushes_in(said) == [f"failed {home.registry.host}/{NAME}:latest to {home.registry.url}"]
        out, _said = client.communicate(timeout=PATIENCE)
    verdict = json.loads(out.splitlines()[-1])
    # Cut off would be ConnectionLost or StreamTruncated.
    assert (verdict["event"], verdict["error"]) == ("failed", "PushRejected")
    assert client.returncode != 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)], ids=["SIGINT", "SIGTERM"]
)
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with at_home(tmp_path, faults=[STUCK]) as home, in_mid_push(home) as (gateway, _client):
        gateway.process.send_signal(number)
        assert wait_until(gateway.refuses_connections)
        ended, said = gateway.end(number)
    assert ended == code
    assert "KeyboardInterrupt" not in said  # sockets it leaves to the system may be warned of


def test_on_a_terminal_the_end_has_a_line_of_its_own(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, terminal(80, "serve", "--listen", "0", **home.variables) as screen:
        screen.read_until("Ctrl-C ends it.\r\n")
        screen.process.send_signal(signal.SIGINT)
        assert screen.read_all() == 0
    assert screen.screen.endswith("Ctrl-C ends it.\r\n\r\nended\r\n")


def test_the_token_of_a_file_is_asked_for_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\r\nnot this\n")
    with at_home(tmp_path) as home, serving(home, "--token-file", str(file), "-v") as gateway:
        assert gateway.ask("POST", "/api/push", {"model": NAME})[0] == 401
        done = home.run("push", NAME, OLLAMA_HOST=gateway.url, OLLAMA_API_KEY=TOKEN)
        _code, said = gateway.end()
    assert done.returncode == 0
    assert gateway.said.splitlines()[-2].endswith(" and the token")
    assert TOKEN not in gateway.said + said


def test_a_token_can_be_said_on_the_command_line(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, serving(home, "--token", TOKEN) as gateway:
        codes = [gateway.ask("GET", "/api/tags", Authorization=f"Bearer {token}")[0] for token in (TOKEN, f"{TOKEN}x")]
        assert TOKEN not in gateway.said
    assert codes == [200, 401]


def test_each_request_is_logged_without_what_may_be_secret(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, serving(home, "-v") as gateway:
        gateway.ask("GET", "/api/tags?key=hidden-1", Authorization="Bearer hidden-2")
        gateway.ask("POST", "/api/push", {"model": NAME, "password": "hidden-3", "username": "me"})
        code, said = gateway.end()
    *lines, last = said.splitlines()
    assert (code, last) == (0, "ended")
    shown = [re.sub(r"^\S+ \S+ (\S+) (\S+ \S+ \d+) \d+ bytes \d+\.\d{3} s$", r"\1 \2", line) for line in lines]
    assert [line for line in shown if "pushed" not in line] == [
        "127.0.0.1 GET /api/tags 200",
        "127.0.0.1 POST /api/push 200",
    ]
    assert len(pushes_in(said)) == 1
    assert "hidden" not in said


@needs_redis
@pytest.mark.parametrize(("settings", "words"), UNUSABLE)
def test_a_redis_that_cannot_be_used_has_its_word_in_the_log_of_a_gateway(
    settings: dict[str, str] | None, words: str, tmp_path: Path
) -> None:
    with at_home(tmp_path) as home, RedisServer(tmp_path / "redis", settings) as server:
        if settings is None:
            server.stop()
        with serving(home, "--resume", server.url) as gateway:
            status, answer = gateway.ask("POST", "/api/push", {"model": NAME})
            said = gateway.said + gateway.end()[1]
    assert (status, b'"status":"success"' in answer) == (200, True)
    assert f"warning: unfinished uploads cannot be kept in {server.url}: {words}; " in said
    assert f"replicas are not known by {server.url}: {words}; each has its own limit of pushes" in said
    assert said.count(words) == 2


def test_options_reach_the_gateway(tmp_path: Path) -> None:
    options = ("--no-ui", "--allow", "localhost:1", "--models", str(tmp_path / "others"), "--max-pushes", "1")
    (tmp_path / "others").mkdir()
    with at_home(tmp_path) as home, serving(home, *options, OLLAMA_ORIGINS="https://a.example.com") as gateway:
        assert f"models: {tmp_path / 'others'}, none there yet\n" in gateway.said
        assert "pushes go only to: localhost:1\n" in gateway.said
        assert "status page" not in gateway.said
        assert gateway.ask("GET", "/ui")[0] == 404
        assert gateway.ask("POST", "/api/push", {"model": f"localhost:2/{NAME}"})[0] == 403
        assert json.loads(gateway.ask("GET", "/api/tags")[1]) == {"models": []}
        origins = [
            gateway.ask("GET", "/", Origin=f"https://{name}.example.com")[0] for name in ("a", "b")
        ]  # fmt: skip
    assert origins == [200, 403]


def test_it_listens_on_ipv6_too(tmp_path: Path) -> None:
    with at_home(tmp_path) as home, serving(home, listen="[::1]:0") as gateway:
        assert gateway.url.startswith("http://[::1]:")
        assert gateway.ask("GET", "/")[1] == b"Ollama is running"
        assert "warning" not in gateway.said


def test_a_port_in_use_is_wrong_usage(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--listen", address, "--models", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"error: --listen='{address}': cannot listen there: address already in use; choose another\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "x"], "--listen='x': expected [ADDRESS:]PORT"),
        (["--listen", "a..b:0"], "--listen='a..b:0': its address is neither one nor a host name"),
        (["--models", "/nowhere"], "--models='/nowhere': there is no such folder"),
        (["--models", "/dev"], "--models='/dev': this is no model store"),
        (["--token-file", "/nowhere"], "--token-file='/nowhere': it cannot be read: no such file or directory"),
        (["--token-file", "/dev/null"], "--token-file='/dev/null': it holds no token on its first line"),
        (["--token-file", "/dev/zero"], "--token-file='/dev/zero': it has a first line of more than 65536 bytes"),
        (["--token", "two words"], "--token='<hidden>': expected visible ASCII"),
        (["--default-registry", "http://x"], "--default-registry='http://x': expected host or host:port"),
        (["--allow", "x/y"], "--allow='x/y': expected host or host:port"),
        (["--ca", "/nowhere"], "--ca='/nowhere': no readable PEM certificates"),
        (["--public-host", "a/b"], "--public-host='a/b': expected host or host:port, perhaps behind http://"),
        (["--pull-key-file", "/dev/null"], "--pull-key-file='/dev/null': its first line has fewer than 32 characters"),
        (["--cache", "/dev/null/x"], "--cache='/dev/null/x': it cannot be used: "),
    ],
)
def test_wrong_options_say_what_was_expected(tmp_path: Path, options: list[str], said: str) -> None:
    done = run("serve", "--listen", "0", "--models", str(tmp_path), *options)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def test_a_rate_that_is_no_size_is_wrong_usage(tmp_path: Path) -> None:
    done = run("serve", "--listen", "0", "--models", str(tmp_path), "--limit-rate", "fast")
    assert done.returncode == 2
    said = "Error: Invalid value for '--limit-rate': expected a size above 0, such as 10MB or 512KiB"
    assert done.stderr.splitlines()[-1] == said


def test_wrong_origins_name_their_variable(tmp_path: Path) -> None:
    done = run("serve", "--listen", "0", "--models", str(tmp_path), OLLAMA_ORIGINS="a.example.com")
    assert (done.returncode, done.stderr.partition(":")[2].partition("=")[0]) == (2, " OLLAMA_ORIGINS")


def test_a_token_is_not_said_twice(tmp_path: Path) -> None:
    done = run("serve", "--listen", "0", "--models", str(tmp_path), "--token", "a", "--token-file", "/nowhere")
    assert done.returncode == 2
    assert "give one of --token and --token-file, better the file" in done.stderr


def test_a_token_that_is_none_is_blamed_on_its_file_and_hidden(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("two words")
    (tmp_path / "models").mkdir()
    done = run(
        "serve", "--listen", "0", "--models", str(tmp_path / "models"), "--token-file", str(tmp_path / "token")
    )  # fmt: skip
    assert done.stderr.startswith(f"error: --token-file='{str(tmp_path)[:20]}")
    assert "its first line is no token; expected visible ASCII" in done.stderr
    assert "two words" not in done.stderr


def welcome(tmp_path: Path, address: str, *, token: str | None = None, loopback: bool = False) -> list[str]:
    settings = GatewaySettings(store=ModelStore(tmp_path), token=token, loopback=loopback)
    return welcome_lines(settings, address, 11434)


def warnings_in(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("warning: ")]


def test_an_address_that_others_reach_is_warned_of(tmp_path: Path) -> None:
    (line,) = warnings_in(welcome(tmp_path, "192.0.2.1"))
    assert "other machines can reach this address" in line
    assert "no token is asked for" in line
    assert "--token-file" in line
    (line,) = warnings_in(welcome(tmp_path, "192.0.2.1", token=TOKEN))
    assert "no token" not in line
    assert "in the clear" in line
    assert TOKEN not in line
    assert warnings_in(welcome(tmp_path, "127.0.0.1", loopback=True)) == []


@pytest.mark.parametrize(("address", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_a_wildcard_is_shown_as_an_address_that_can_be_opened(tmp_path: Path, address: str, shown: str) -> None:
    lines = welcome(tmp_path, address)
    assert lines[0] == f"gateway: http://{shown}:11434, and on every other address of this machine"
    assert f"status page: http://{shown}:11434/ui" in lines


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "pulls: for clients of registries alone; `ollama pull` also needs --public-host"),
        ({"public_host": "direct.test"}, "pull with: ollama pull --insecure http://192.0.2.1:11434/NAMESPACE/MODEL"),
        (
            {"token": TOKEN},
            "pulls need the token: `ollama pull` cannot send it, clients of registries can, as a password",
        ),
    ],
    ids=["no other name", "another name", "token"],
)
def test_who_can_pull_is_said(tmp_path: Path, more: dict[str, str], said: str) -> None:
    settings = GatewaySettings(store=ModelStore(tmp_path), loopback=False, **more)  # type: ignore[arg-type]  # of each kind
    assert said in welcome_lines(settings, "192.0.2.1", 11434)


def test_without_a_default_registry_names_go_where_ollama_sends_them(tmp_path: Path) -> None:
    line = next(line for line in welcome(tmp_path, "127.0.0.1", loopback=True) if line.startswith("names without"))
    assert line.startswith("names without a host go to: registry.ollama.ai, ")


def test_a_client_certificate_that_cannot_be_used_ends_it(tmp_path: Path) -> None:
    put_model(tmp_path / "models")
    options = ("--listen", "127.0.0.1:0", "--models", str(tmp_path / "models"))
    done = run("serve", *options, "--cert", str(tmp_path / "none.pem"), "--key", str(tmp_path / "none.key"))
    assert done.returncode == 2
    assert "--cert=" in done.stderr
