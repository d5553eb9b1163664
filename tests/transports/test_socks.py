"""SOCKS proxies of the environment: who finds the address, what they are shown, and who is blamed when they fail."""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import trustme
from tests.support.raw_peer import serving
from tests.support.socks_proxy import Asked, SocksProxy
from tests.transports.conftest import MakeTransport

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, TransportTimeout
from ollama_push.core.ports import CancelsRequests, HttpRequest
from ollama_push.testing.server import Hold, NextRequest, ScriptedServer, Step, head, json_answer

HOST = "registry.example.com"
# What inet_aton(3) reads as 203.0.113.7 (RFC 5737), so that no name server is asked for it.
NUMBER = "0xcb007107"
PASSWORD = "hush/hush"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(json_answer(b"through the proxy")) as server:
        yield server


def fetch(make: MakeTransport, url: str, **options: object) -> bytes:
    with closing(make(**options)) as transport, transport.open(HttpRequest("GET", url)) as response:
        return b"".join(response.chunks())


def failure(make: MakeTransport, url: str = f"http://{HOST}/", **options: object) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        fetch(make, url, **options)
    assert PASSWORD not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.address == url.removesuffix("/")
    return caught.value


@pytest.mark.parametrize("variable", ["ALL_PROXY", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize(
    ("scheme", "host", "asked"),
    [
        ("socks5h", HOST, Asked(HOST, 80, is_name=True)),
        ("socks5h", NUMBER, Asked(NUMBER, 80, is_name=True)),
        ("socks5", NUMBER, Asked("203.0.113.7", 80, is_name=False)),
        ("socks5", "203.0.113.9:5000", Asked("203.0.113.9", 5000, is_name=False)),
        ("socks5h", "[2001:db8::7]:5000", Asked("2001:db8::7", 5000, is_name=False)),
    ],
)
def test_the_scheme_says_who_finds_the_address(  # noqa: PLR0917 - a table's columns
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str, host: str, asked: Asked
) -> None:
    with ScriptedServer(json_answer(b"through the proxy")) as server, SocksProxy(server.port) as proxy:
        monkeypatch.setenv(variable, proxy.url(scheme))
        assert fetch(make, f"http://{host}/v2/") == b"through the proxy"
        assert proxy.asked == [asked]
        assert server.requests[0].target == "/v2/"
        assert "proxy-authorization" not in server.requests[0].headers


def test_tls_is_with_the_host_behind_the_proxy(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ca = trustme.CA()
    ca_file = tmp_path_factory.mktemp("socks") / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST).configure_cert(context)
    with ScriptedServer(json_answer(b"secret"), tls=context) as server, SocksProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        assert fetch(make, f"https://{HOST}/", ca_file=ca_file) == b"secret"
        assert proxy.asked == [Asked(HOST, 443, is_name=True)]
        error = failure(make, "https://other.example.com/", ca_file=ca_file)
        assert error.cause is ConnectCause.CERTIFICATE_OF_ANOTHER_HOST


def test_a_connection_through_it_is_kept(make: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    script: list[Step] = [head(204), NextRequest()] * 3
    with ScriptedServer(script) as server, SocksProxy(server.port) as proxy, closing(make()) as transport:
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        for body in (b"", bytes(200_000), b""):
            with transport.open(HttpRequest("PUT", f"http://{HOST}/", body=body)) as response:
                assert response.status == 204
        assert (proxy.accepted, len(server.requests)) == (1, 3)


def test_a_kept_connection_through_it_that_ends_without_a_word_is_unread(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        ScriptedServer([head(204), NextRequest()]) as server,
        SocksProxy(server.port) as proxy,
        closing(make()) as transport,
    ):
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        request = HttpRequest("PUT", f"http://{HOST}/", body=b"{}")
        with transport.open(request):
            pass
        with pytest.raises(ConnectionLost) as caught, transport.open(request):
            pass
        assert caught.value.unread


def test_its_login_is_shown_to_it_alone(
    make: MakeTransport, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SocksProxy(server.port, login=("me", PASSWORD)) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(userinfo="me:hush%2Fhush"))
        assert fetch(make, f"http://{HOST}/") == b"through the proxy"
        assert proxy.logins == [("me", PASSWORD)]
    assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("login", "userinfo"),
    [(("me", "another"), "me:hush%2Fhush"), (("me", PASSWORD), ""), (("me", PASSWORD), f"me:{'x' * 300}")],
    ids=["wrong", "none", "too long"],
)
def test_a_login_that_it_does_not_take_is_the_proxys_matter(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch, login: tuple[str, str], userinfo: str
) -> None:
    with SocksProxy(login=login) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(userinfo=userinfo))
        error = failure(make)
        assert error.cause is ConnectCause.PROXY
        assert "check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY" in str(error)
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (1, ConnectCause.PROXY),
        (2, ConnectCause.PROXY),
        (3, ConnectCause.UNREACHABLE),
        (4, ConnectCause.UNREACHABLE),
        (5, ConnectCause.REFUSED),
        (7, ConnectCause.PROXY),
        (99, ConnectCause.PROXY),
    ],
)
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_what_it_says_of_the_host_is_told_of_the_host(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch, scheme: str, reply: int, cause: ConnectCause
) -> None:
    with SocksProxy(reply=reply) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme))
        error = failure(make, f"http://{NUMBER}/")
        assert error.cause is cause
        assert ("the proxy says of" in error.detail) == (cause is not ConnectCause.PROXY)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad\r\n\r\n", b"\x05", b"\x05\xff", b""])
def test_what_is_no_socks_proxy_is_blamed(make: MakeTransport, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    with serving(lambda peer: peer.send(said)) as peer:
        monkeypatch.setenv("ALL_PROXY", peer.url.replace("http:", "socks5:").removesuffix("/"))
        assert failure(make, f"http://{NUMBER}/").cause is ConnectCause.PROXY


def test_one_that_is_not_there_is_blamed(make: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with SocksProxy() as gone:
        url = gone.url()
    monkeypatch.setenv("ALL_PROXY", url)
    assert failure(make).cause is ConnectCause.PROXY


def test_one_that_is_silent_is_not_waited_for(make: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([Hold()]) as silent:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{silent.port}")
        with pytest.raises(TransportTimeout) as caught:
            fetch(make, f"http://{HOST}/", connect_timeout=0.3)
    assert (caught.value.phase, caught.value.seconds) == ("connect", 0.3)


def test_what_no_proxy_covers_and_loopback_do_not_go_through_it(
    make: MakeTransport, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SocksProxy(server.port) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        monkeypatch.setenv("NO_PROXY", ".invalid")
        assert fetch(make, server.url) == b"through the proxy"
        assert failure(make, "http://no-such-host.invalid/").cause is ConnectCause.UNKNOWN_HOST
        assert failure(make, "http://no-such-host.invalid/", trust_env=False).cause is ConnectCause.UNKNOWN_HOST
        assert proxy.accepted == 0


@pytest.mark.parametrize("scheme", ["socks4", "socks", "ftp"])
def test_another_kind_of_proxy_is_named(make: MakeTransport, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:hush%2Fhush@127.0.0.1:9")
    error = failure(make)
    assert error.cause is ConnectCause.PROXY
    assert f"not by {scheme}://" in str(error)


def test_without_the_extra_its_name_is_said(make: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with SocksProxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        monkeypatch.setitem(sys.modules, "python_socks", None)  # import says that there is no such module
        error = failure(make)
        assert error.cause is ConnectCause.PROXY
        assert "pip install 'ollama-push[socks]'" in str(error)
        assert proxy.accepted == 0


def test_a_request_through_it_can_be_cancelled(make: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([Hold()]) as server, SocksProxy(server.port) as proxy, closing(make()) as transport:
        if not isinstance(transport, CancelsRequests):
            pytest.skip("tasks are cancelled instead")
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        request = HttpRequest("GET", f"http://{HOST}/")
        ended: list[Exception] = []

        def send() -> None:
            try:
                with transport.open(request):
                    pass
            except ConnectionLost as exc:
                ended.append(exc)

        thread = threading.Thread(target=send)
        thread.start()
        assert server.wait_for_request(20.0)
        transport.cancel(request)
        thread.join(20.0)
        assert "cancelled" in str(ended[0])
