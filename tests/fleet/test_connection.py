"""The URL of a Redis and what stands behind it: each thing that may be wrong with it has a word of its own."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import trustme
from tests.support.gateway_process import wait_until
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, needs_redis

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.breaker import open_breaker
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.fleet import RedisPushes, RedisResumeStore
from ollama_push.fleet.connection import RedisProblem
from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = [pytest.mark.process, needs_redis]

_PAGE: Final = Path(__file__).parents[2] / "docs" / "fleet.md"
_KEY: Final = UploadKey("https://registry.example.com", "team/my-llama", "sha256:" + "a" * 64)
_SAVED: Final = ResumePoint("https://registry.example.com/v2/team/my-llama/blobs/uploads/1", 7)
_PASSWORD: Final = "correct-horse"
_PATIENCE_SECONDS: Final = 30.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_the_page_explains_each_word() -> None:
    page = _PAGE.read_text("utf-8")
    unexplained = [each for each in RedisProblem if each is not RedisProblem.OTHER and f"| {each.value} |" not in page]
    assert unexplained == []


def _without(command: str) -> Callable[[RedisServer], object]:
    return lambda server: server.run("ACL", "SETUSER", "default", f"-{command}")


@pytest.mark.parametrize(
    ("settings", "prepare", "database", "words"),
    [
        ({"requirepass": _PASSWORD}, None, 0, "it does not accept the user name or password"),
        ({}, _without("set"), 0, "its user may not run the commands that are needed"),
        ({}, _without("eval"), 0, None),
        ({}, _without("select"), 3, "its user may not run the commands that are needed"),
        ({}, None, 99, "it has no database of that number"),
    ],
    ids=["password", "command in a script", "known script", "select", "database"],
)
def test_a_server_that_refuses_has_its_reason(
    settings: Mapping[str, str],
    prepare: Callable[[RedisServer], object] | None,
    database: int,
    words: str | None,
    tmp_path: Path,
) -> None:
    with RedisServer(tmp_path / "redis", settings) as server:
        store = RedisResumeStore(server.url.removesuffix("/0") + f"/{database}")
        if words is None:
            assert store.problem() is None
        if prepare is not None:
            prepare(server)
        assert store.problem() == words


def _cluster() -> dict[str, str]:
    # Its own port and 10000, which is what it takes by default, may be too large.
    return {"cluster-enabled": "yes", "cluster-port": str(free_port())}


@pytest.mark.parametrize("database", [0, 1])
def test_a_cluster_that_does_not_serve_is_one(database: int, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", _cluster()) as server:
        url = server.url.removesuffix("/0") + f"/{database}"
        assert RedisResumeStore(url).problem() == "it is a node of a cluster, and keeps a part of the keys"


def test_a_cluster_that_sends_us_to_another_node_is_one(tmp_path: Path) -> None:
    one_settings, two_settings = _cluster(), _cluster()
    with RedisServer(tmp_path / "1", one_settings) as one, RedisServer(tmp_path / "2", two_settings) as two:
        one.run("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        two.run("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        one.run("CLUSTER", "MEET", "127.0.0.1", two.port, two_settings["cluster-port"])
        assert wait_until(lambda: "cluster_state:ok" in str(one.run("CLUSTER", "INFO")))
        # Each store asks for a key of its own, half of which are here.
        problems = {RedisResumeStore(one.url).problem() for _ in range(40)}
        assert problems == {None, "it is a node of a cluster, and keeps a part of the keys"}


def test_a_server_with_too_many_clients_says_so(own: RedisServer) -> None:
    kept = own.client()
    kept.config_set("maxclients", "1")
    assert RedisResumeStore(own.url).problem() == "it takes no more connections (maxclients)"


def test_a_sentinel_is_told_from_a_server(tmp_path: Path) -> None:
    configuration = tmp_path / "sentinel.conf"
    port = free_port()
    lines = [f"port {port}", "bind 127.0.0.1", f"dir {tmp_path}", "sentinel monitor main 127.0.0.1 1 1"]
    configuration.write_text("\n".join(lines) + "\n")
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program is not None
    process = subprocess.Popen([program, str(configuration), "--sentinel"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("Sentinel ID is" in line for line in process.stdout)
        url = f"redis://127.0.0.1:{port}"
        assert RedisResumeStore(url).problem() == "it runs no scripts; is it a sentinel?"
    finally:
        process.kill()
        process.communicate(timeout=_PATIENCE_SECONDS)


def test_what_is_no_redis_is_called_so(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        assert RedisResumeStore(f"redis://{registry.host}").problem() == "what responds there is no Redis"


@contextmanager
def _closing_listener() -> Iterator[str]:
    """Yield the address of a listener that closes each connection, as a proxy with no server behind it does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_each() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1)

        thread = threading.Thread(target=close_each)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(_PATIENCE_SECONDS)


def test_a_connection_that_is_closed_is_told_from_one_that_is_refused() -> None:
    with _closing_listener() as address:
        store = RedisResumeStore(f"redis://{address}")
        assert store.problem() == "it closes the connection; does it want TLS (rediss://)?"


class _Tls:
    """A CA, and files of certificates that it has issued."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.trusted = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.trusted)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a new certificate and its key."""
        certificate = self._authority.issue_cert(name)
        chain, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.cert_chain_pems[0].write_to_path(chain)
        certificate.private_key_pem.write_to_path(key)
        return chain, key

    def server(self, folder: Path, *, clients: str) -> RedisServer:
        chain, key = self.issue("127.0.0.1")
        files = {"tls-cert-file": str(chain), "tls-key-file": str(key), "tls-ca-cert-file": str(self.trusted)}
        return RedisServer(folder, {**files, "tls-auth-clients": clients}, scheme="rediss")


def test_a_server_may_want_a_certificate_of_its_clients(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    tls, other = _Tls(tmp_path), _Tls(tmp_path / "other")
    with tls.server(tmp_path / "redis", clients="yes") as server:
        trusting = f"{server.url}?ssl_ca_certs={tls.trusted}"
        chain, key = tls.issue("client")
        assert RedisResumeStore(f"{trusting}&ssl_certfile={chain}&ssl_keyfile={key}").problem() is None
        assert RedisResumeStore(trusting).problem() is not None
        chain, key = other.issue("stranger")
        assert RedisResumeStore(f"{trusting}&ssl_certfile={chain}&ssl_keyfile={key}").problem() is not None


def test_plain_and_tls_are_told_apart(own: RedisServer, tmp_path: Path) -> None:
    plain_alone = RedisResumeStore(own.url.replace("redis", "rediss", 1), timeout=0.5)
    assert plain_alone.problem() == (
        "it does not respond to the TLS handshake; does it want redis:// instead of rediss://?"
    )
    with _Tls(tmp_path).server(tmp_path / "tls", clients="no") as server:
        tls_alone = RedisResumeStore(server.url.replace("rediss", "redis", 1))
        assert tls_alone.problem() == "it closes the connection; does it want TLS (rediss://)?"


def test_a_file_that_is_no_certificate_fails_the_handshake(own: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    url = own.url.replace("redis", "rediss", 1)
    said = RedisResumeStore(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}").problem()
    assert said == "the TLS handshake with it failed; is its certificate trusted?"


@pytest.mark.parametrize("login", ["", f":{_PASSWORD}@"])
def test_a_socket_of_this_machine_is_a_server_too(login: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    settings = {"unixsocket": str(path), **({"requirepass": _PASSWORD} if login else {})}
    with RedisServer(tmp_path / "redis", settings):
        store = RedisResumeStore(f"unix://{login}{path}?db=2")
        assert store.problem() is None
        assert store.place == f"unix://{path}"
        assert store.claim(_KEY) is None
        store.release(_KEY)
    assert RedisResumeStore(f"unix://{login}{path}").problem() == "it cannot be reached"


def test_after_a_failover_the_name_is_looked_up_again(tmp_path: Path) -> None:
    """The old primary, now a replica, still answers on the connection that was kept."""
    path = tmp_path / "primary"
    with (
        RedisServer(tmp_path / "one", {"unixsocket": str(tmp_path / "1")}) as one,
        RedisServer(tmp_path / "two", {"unixsocket": str(tmp_path / "2")}) as two,
    ):
        path.symlink_to(tmp_path / "1")
        store = RedisResumeStore(f"unix://{path}", pause=0.0)
        assert store.problem() is None
        one.client().replicaof("127.0.0.1", str(two.port))
        path.unlink()
        path.symlink_to(tmp_path / "2")
        assert store.problem() == "it is a read-only replica"
        assert store.problem() is None


def test_teams_with_prefixes_of_their_own_share_nothing(own: RedisServer) -> None:
    one, two = (f"{own.url}?prefix={team}" for team in ("team-a", "team-b"))
    first, second = RedisResumeStore(one), RedisResumeStore(two)
    assert first.claim(_KEY) is None
    first.save(_KEY, _SAVED)
    assert second.claim(_KEY) is None
    gateways = RedisPushes(one), RedisPushes(two)
    assert all(gateway.admit(1, 1) for gateway in gateways)
    assert [gateway.exchange("shown") for gateway in gateways] == [{}, {}]
    assert {key.partition(":")[0] for key in map(str, own.client().scan_iter())} == {"team-a", "team-b"}
    third = RedisResumeStore(one, prefix="team-c")
    assert third.claim(_KEY) is None, "the argument is stronger"
    for store in (first, second, third):
        store.release(_KEY)


def test_databases_share_nothing(own: RedisServer) -> None:
    first, second = (RedisResumeStore(own.url.removesuffix("0") + number) for number in "01")
    first.claim(_KEY)
    first.save(_KEY, _SAVED)
    assert second.claim(_KEY) is None
    first.release(_KEY)
    second.release(_KEY)


@pytest.mark.parametrize("database", [0, 3])
def test_the_rights_that_the_page_names_are_enough(
    database: int, own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    [rights] = re.findall(r"the rights needed are `([^`]+)`", _PAGE.read_text("utf-8"))
    own.run("ACL", "SETUSER", "fleet", "on", f">{_PASSWORD}", *rights.split())
    url = f"redis://fleet:{_PASSWORD}@127.0.0.1:{own.port}/{database}"
    store = RedisResumeStore(url)
    assert store.problem() is None
    store.claim(_KEY)
    store.save(_KEY, _SAVED)
    store.release(_KEY)
    assert store.claim(_KEY) == _SAVED
    store.forget(_KEY)
    store.release(_KEY)
    assert store.breakers.change(_KEY.origin, open_breaker(0.5)) is not None
    replica = RedisPushes(url)
    assert replica.admit(1, 1)
    assert not RedisPushes(url).admit(1, 1)
    replica.exchange("shown")
    replica.leave(1)
    replica.close()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://:pw@h/main", "sentinels and clusters are not asked: name the primary"),
        ("rediss+cluster://:pw@h", "sentinels and clusters are not asked: name the primary"),
        ("redis://:pw@h1:1,h2:2", "expected redis://host"),
        ("unix://", "expected redis://host"),
        ("unix://:pw@/", "expected redis://host"),
        ("unix://run/redis.sock", "expected redis://host[:port][/db], rediss:// for TLS, or unix:///path"),
        ("redis://:pw@h?prefix=", "its prefix may hold letters"),
        ("redis://:pw@h?prefix=%7Bpw", "its prefix may hold letters"),
        ("rediss://:pw@h?ssl_ca_certs=/nonexistent", "ssl_ca_certs=/nonexistent: no such file or directory"),
        ("rediss://:pw@h?ssl_keyfile=/", "ssl_keyfile=/: is a directory"),
        ("rediss://:pw@h?ssl_certfile=%00", "it is no path"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str, problem: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        RedisResumeStore(url)
    assert problem in str(caught.value)
    assert "pw" not in str(caught.value)
    with pytest.raises(InvalidSetting):
        RedisPushes(url)
