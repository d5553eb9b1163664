"""Which pages may read what the gateway says, and which names it goes by: headers of browsers, on a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.gateway import BufferedResponse, Gateway, settings_for, store_of

PAGE: Final = "https://page.example.com"


@contextmanager
def serving(tmp_path: Path, **settings: Any) -> Iterator[Gateway]:
    with Gateway(settings_for(store_of(tmp_path), **settings)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway as it is without any settings: on loopback, with Ollama's own origins."""
    with serving(tmp_path_factory.mktemp("store")) as running:
        yield running


def cors_of(response: BufferedResponse) -> dict[str, str]:
    """What a response says to browsers about other origins."""
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def vary_of(response: BufferedResponse) -> str:
    return response.headers.get("vary", "")


def test_a_star_lets_every_page_in_and_answers_do_not_depend_on_it(tmp_path: Path) -> None:
    with serving(tmp_path, origins=("*",)) as gateway:
        for origin in (PAGE, "null", "http://localhost:3000"):
            response = gateway.send("GET", "/api/version", headers={"Origin": origin})
            assert response.status == 200
            assert cors_of(response) == {"access-control-allow-origin": "*"}
            # A cache may give it to anybody.
            assert vary_of(response) == ""
            asked = gateway.send("OPTIONS", "/api/push", headers={"Origin": origin})
            assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, "*")


def test_an_answer_to_a_page_is_kept_for_that_page_alone(tmp_path: Path) -> None:
    with serving(tmp_path, origins=(PAGE, "https://other.example.com")) as gateway:
        for method, path in (("GET", "/api/version"), ("GET", "/nope"), ("OPTIONS", "/api/push")):
            response = gateway.send(method, path, headers={"Origin": PAGE})
            assert response.headers["access-control-allow-origin"] == PAGE
            assert vary_of(response) == "Origin"
        streamed = gateway.send("POST", "/api/push", b'{"model":"a/b"}', {"Origin": PAGE})
        assert (streamed.headers["access-control-allow-origin"], vary_of(streamed)) == (PAGE, "Origin")


def test_without_an_origin_nothing_is_said_about_origins(gateway: Gateway) -> None:
    response = gateway.send("GET", "/api/version")
    assert (cors_of(response), vary_of(response)) == ({}, "")


def test_what_a_page_may_send_is_said_when_it_asks_beforehand(gateway: Gateway) -> None:
    asked = gateway.send("OPTIONS", "/api/push", headers={"Origin": "http://localhost:5173"})
    assert (asked.status, asked.body) == (204, b"")
    assert cors_of(asked) == {
        "access-control-allow-origin": "http://localhost:5173",
        "access-control-allow-methods": "GET,POST,HEAD,OPTIONS",
        "access-control-allow-headers": "Authorization,Content-Type,User-Agent,Accept,X-Requested-With",
        "access-control-max-age": "43200",
    }
    # Only then.
    got = gateway.send("GET", "/api/version", headers={"Origin": "http://localhost:5173"})
    assert cors_of(got) == {"access-control-allow-origin": "http://localhost:5173"}


def test_a_page_may_ask_beforehand_without_the_token(tmp_path: Path) -> None:
    """Browsers send none along then."""
    with serving(tmp_path, origins=(PAGE,), token="s3cret") as gateway:
        assert gateway.send("OPTIONS", "/api/push", headers={"Origin": PAGE}).status == 204
        refused = gateway.send("POST", "/api/push", b"{}", {"Origin": PAGE})
        # Its script can read why.
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)


@pytest.mark.parametrize("path", ["/api/push", "/api/tags", "/nope"])
@pytest.mark.parametrize("origin", [None, "http://box.local:11434", "https://box.local:11434"])
def test_on_loopback_every_options_is_answered_and_off_it_none_of_our_own(
    gateway: Gateway, tmp_path: Path, origin: str | None, path: str
) -> None:
    headers = {"Host": "box.local:11434", **({"Origin": origin} if origin else {})}
    response = gateway.send("OPTIONS", path, headers=headers)
    assert (response.status, response.body, cors_of(response)) == (204, b"", {})
    with serving(tmp_path, loopback=False) as elsewhere:
        response = elsewhere.send("OPTIONS", path, headers=headers)
        assert (response.status, cors_of(response)) == (404 if path == "/nope" else 405, {})


def test_a_page_of_the_gateways_own_is_told_nothing_though_its_origin_is_listed(gateway: Gateway) -> None:
    for origin, said in (("http://localhost:11434", set()), ("http://localhost:1", {"http://localhost:1"})):
        response = gateway.send("GET", "/api/version", headers={"Host": "localhost:11434", "Origin": origin})
        assert response.status == 200
        assert set(cors_of(response).values()) == said


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_gateways_own_page_is_no_foreign_one_behind_tls_either(tmp_path: Path, scheme: str) -> None:
    with serving(tmp_path, loopback=False) as gateway:
        own = {"Host": "models.example.com", "Origin": f"{scheme}://models.example.com"}
        response = gateway.send("GET", "/api/version", headers=own)
        assert (response.status, cors_of(response), vary_of(response)) == (200, {}, "")
        for other in ("models.example.com", f"{scheme}://models.example.com:8443", "ftp://models.example.com"):
            assert gateway.send("GET", "/api/version", headers={**own, "Origin": other}).status == 403


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        (
            "https://*.example.com",
            ["https://a.example.com", "https://a.b.example.com"],
            [
                "https://a.evil.com",
                "https://example.com",
                "https://a.example.com.evil.com",
                "https://a.example.com:8443",
                "https://aexample.com",
                "http://a.example.com",
            ],
        ),
        ("https://example.com:*", ["https://example.com:1"], ["https://example.com", "https://example.org:1"]),
        ("https://a*a.com", ["https://aa.com", "https://abca.com"], ["https://a.com"]),
        (PAGE, [PAGE], [f"{PAGE}:8443", f"{PAGE}.evil.com", "https://page.example.co"]),
    ],
)
def test_a_star_stands_for_what_is_between_its_ends(
    tmp_path: Path, pattern: str, allowed: list[str], refused: list[str]
) -> None:
    with serving(tmp_path, origins=(pattern,)) as gateway:
        for origin in allowed:
            response = gateway.send("GET", "/api/version", headers={"Origin": origin})
            assert (response.status, response.headers["access-control-allow-origin"]) == (200, origin)
        for origin in refused:
            response = gateway.send("GET", "/api/version", headers={"Origin": origin})
            assert (response.status, cors_of(response)) == (403, {})


KNOWN: Final = [
    "x.localhost",
    "x.localhost:11434",
    "BOX.LOCAL",
    "box.local:1",
    "host.docker.internal",
    "host.docker.internal:11434",
    "10.0.0.1",
    "10.255.255.255:11434",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.255.255:1",
    "127.255.255.254",
    "::1",
    "::",
    "[::]",
    "[::1]",
    "[::1%lo]",
    "[::1%lo]:11434",
    "[fd00::1]",
    "[fc00::1]:11434",
    "[fdff:ffff::1%eth0]:11434",
]

UNKNOWN: Final = [
    "9.255.255.255",
    "11.0.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.0.1",
    "192.169.0.1:11434",
    "169.254.1.1",
    "100.64.0.1",
    "[fe00::1]",
    "[fbff::1]:11434",
    "[fe80::1%eth0]:11434",
    "[2001:db8::1]:11434",
    "local",
    "internal",
    "notlocalhost",
    "xlocal:11434",
    "box.local.example.com",
    "localhost:1:2",
    "[localhost",
]


@pytest.mark.parametrize("host", KNOWN)
def test_names_and_addresses_of_ones_own_are_taken(gateway: Gateway, host: str) -> None:
    assert gateway.send("GET", "/api/version", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", UNKNOWN)
def test_all_others_are_not(gateway: Gateway, host: str) -> None:
    assert gateway.send("GET", "/api/version", headers={"Host": host}).status == 403


def test_the_machines_own_name_is_taken_and_none_that_begins_with_it(gateway: Gateway) -> None:
    name = socket.gethostname()
    for host in (name, name.upper(), f"{name}:11434"):
        assert gateway.send("GET", "/", headers={"Host": host}).status == 200
    assert gateway.send("GET", "/", headers={"Host": f"{name}.example.com"}).status == 403
