"""Proxies come from the environment, never stand before loopback, and are named when they fail."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.transports.conftest import MakeTransport

from ollama_push.core.errors import ConnectCause, ConnectFailed, TransportError, TransportTimeout
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.server import Pause, Script, ScriptedServer, json_answer

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
TARGET = "http://registry.example.com/api/version"
TUNNELLED = "https://registry.example.com/"
PASSWORD = "hush-hush"
SECRETS = (PASSWORD, "hush", base64.b64encode(f"me:{PASSWORD}".encode()).decode())


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    with ScriptedServer(json_answer(b"through the proxy")) as server:
        yield server


def fetch(make: MakeTransport, url: str, **options: object) -> bytes:
    with closing(make(**options)) as transport, transport.open(HttpRequest("GET", url)) as response:
        return b"".join(response.chunks())


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_the_environments_proxy_gets_the_absolute_url(
    make: MakeTransport, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, proxy.url)
    assert fetch(make, TARGET) == b"through the proxy"
    assert proxy.requests[0].target == TARGET


def test_a_proxy_without_scheme_is_http(
    make: MakeTransport, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
    assert fetch(make, TARGET) == b"through the proxy"


def test_user_and_password_of_a_proxy_go_to_the_proxy(
    make: MakeTransport, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
    fetch(make, TARGET)
    sent = proxy.requests[0].headers["proxy-authorization"]
    assert sent == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_never_goes_through_a_proxy(
    make: MakeTransport, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    with ScriptedServer(json_answer(b"direct")) as server:
        assert fetch(make, f"http://{host}:{server.port}/") == b"direct"
    assert proxy.accepted == 0


def test_no_proxy_and_trust_env_keep_a_host_direct(
    make: MakeTransport, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    with pytest.raises(ConnectFailed) as caught:
        fetch(make, "http://no-such-host.invalid/", trust_env=False)
    assert caught.value.cause is ConnectCause.UNKNOWN_HOST
    monkeypatch.setenv("no_proxy", ".invalid")
    with pytest.raises(ConnectFailed) as caught:
        fetch(make, "http://no-such-host.invalid/")
    assert caught.value.cause is ConnectCause.UNKNOWN_HOST
    assert proxy.accepted == 0


def test_a_dead_proxy_is_named_and_its_password_is_not_shown(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as gone:
        port = gone.port
    monkeypatch.setenv("http_proxy", f"http://me:hush@127.0.0.1:{port}")
    with pytest.raises(ConnectFailed) as caught:
        fetch(make, TARGET)
    assert caught.value.cause is ConnectCause.PROXY
    assert "check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or list the host in NO_PROXY" in str(caught.value)
    assert str(caught.value).endswith(f"(127.0.0.1:{port}: connection refused)")
    assert "hush" not in f"{caught.value} {caught.value!r}"


def test_a_proxy_that_refuses_a_tunnel_is_named(make: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = json_answer(b"", 407, {"Proxy-Authenticate": "Basic"})
    with ScriptedServer(refusal) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(ConnectFailed) as caught:
            fetch(make, "https://registry.example.com/")
    assert caught.value.cause is ConnectCause.PROXY
    assert proxy.requests[0].method == "CONNECT"


def shown(exc: BaseException) -> str:
    """Return all that somebody may see of *exc*, of what it was made from, and of what those carry."""
    seen: dict[int, BaseException] = {}
    queue: list[object] = [exc]
    while queue:
        link = queue.pop()
        if isinstance(link, BaseException) and id(link) not in seen:
            seen[id(link)] = link
            queue += [link.__cause__, link.__context__, *link.args]
    texts = [f"{link}\n{link!r}\n{link.args!r}\n{vars(link)!r}" for link in seen.values()]
    return "\n".join([*traceback.format_exception(exc), *texts])


@pytest.mark.parametrize(
    "script",
    [
        json_answer(b"", 407, {"Proxy-Authenticate": "Basic"}),
        json_answer(b"", 502),
        [b"nonsense\r\n\r\n"],
        [],
    ],
    ids=["407", "502", "no HTTP", "nothing"],
)
@pytest.mark.parametrize("url", [TARGET, TUNNELLED], ids=["http", "https"])
def test_the_password_of_a_proxy_that_fails_is_nowhere_in_the_error(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch, url: str, script: Script
) -> None:
    with ScriptedServer(script) as proxy:
        monkeypatch.setenv("all_proxy", f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}")
        if url is TARGET and script and script[0] != b"nonsense\r\n\r\n":
            fetch(make, url)  # without a tunnel, it is a response like any other
        else:
            with pytest.raises(TransportError) as caught:
                fetch(make, url)
            text = shown(caught.value)
            assert [secret for secret in SECRETS if secret in text] == []
        assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {SECRETS[-1]}"


def test_a_login_is_nowhere_in_the_error_of_a_peer_that_speaks_no_http(make: MakeTransport) -> None:
    with ScriptedServer([b"nonsense\r\n\r\n"]) as peer, closing(make()) as transport:
        request = HttpRequest("GET", peer.url, {"Authorization": f"Bearer {PASSWORD}"})
        with pytest.raises(TransportError) as caught, transport.open(request) as response:
            b"".join(response.chunks())
        assert PASSWORD not in shown(caught.value)
        assert peer.requests[0].headers["authorization"] == f"Bearer {PASSWORD}"


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://me:{PASSWORD}@127.0.0.1:99999",
        f"http://me:{PASSWORD}@127.0.0.1:port",
        f"http://me:{PASSWORD}@127.0.0.1:0",
        f"http://me:{PASSWORD}@[::1",
        f"http://me:{PASSWORD}@",
        f"http://me:{PASSWORD}/x@127.0.0.1:3128",
        f"http://me:{PASSWORD}?x@127.0.0.1:3128",
        f"me:{PASSWORD}#x@127.0.0.1:3128",
        f"http://me:1/{PASSWORD}@127.0.0.1:3128",
    ],
)
@pytest.mark.parametrize("url", [TARGET, TUNNELLED], ids=["http", "https"])
def test_a_proxy_that_cannot_be_used_is_named_without_a_word_of_its_password(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch, proxy: str, url: str
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(ConnectFailed) as caught:
        fetch(make, url)
    assert caught.value.cause is ConnectCause.PROXY
    assert caught.value.address == url.removesuffix("/api/version").removesuffix("/")
    assert "must be written as in %2F" in str(caught.value)
    text = shown(caught.value)
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("drip", [b"a", b"a\r\nX-Many: "])
def test_a_proxy_whose_response_to_connect_drips_is_not_waited_for(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    drips = [step for _ in range(100) for step in (Pause(0.05), drip)]
    with ScriptedServer([b"HTTP/1.1 200 OK\r\nX-Long: ", *drips, b"\r\n\r\n"]) as server:
        monkeypatch.setenv("https_proxy", server.url)
        with pytest.raises(TransportError) as caught:
            fetch(make, TUNNELLED, connect_timeout=0.4)
    assert server.accepted == 1
    assert isinstance(caught.value, TransportTimeout)
    assert (caught.value.phase, caught.value.seconds) == ("connect", 0.4)
