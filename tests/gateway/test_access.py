"""Who is refused, and what a push cannot be used for: every refusal with its status, on a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, parse, request_of, settings_for, store_of

from ollama_push.testing.registry import EmbeddedRegistry, Fault, Quirks, Reply

DEMO = b'{"model":"a/b"}'


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(settings_for(store_of(tmp_path))) as running:
        yield running


@pytest.mark.parametrize(
    "host", ["evil.example.com", "evil.example.com:11434", "8.8.8.8", "localhost.evil.com", "1.2.3"]
)
def test_a_page_that_points_its_own_name_here_is_refused(gateway: Gateway, host: str) -> None:
    for path in ("/api/push", "/api/tags", "/", "/ui", "/nope"):
        response = gateway.send("POST" if path == "/api/push" else "GET", path, headers={"Host": host})
        assert (response.status, response.body) == (403, b"")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "LOCALHOST:11434",
        "127.0.0.1:1",
        "[::1]:11434",
        "0.0.0.0",
        "192.168.1.4",
        "a.local",
        "x.internal:9",
    ],
)
def test_the_hosts_a_real_server_takes_are_taken(gateway: Gateway, host: str) -> None:
    assert gateway.send("GET", "/", headers={"Host": host}).body == b"Ollama is running"


def test_beyond_loopback_the_host_is_not_looked_at_as_ollama_does_it(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), loopback=False)) as gateway:
        assert gateway.send("GET", "/", headers={"Host": "models.example.com"}).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example.com", "null", "http://localhost.evil.com", "https://127.0.0.1.evil.com"]
)
def test_a_foreign_page_is_refused(gateway: Gateway, origin: str) -> None:
    for method in ("POST", "OPTIONS"):
        response = gateway.send(method, "/api/push", DEMO, {"Origin": origin})
        assert (response.status, response.body) == (403, b"")
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "origin", ["https://localhost:1", "https://127.0.0.1:3000", "http://localhost:5173", "app://obsidian.md"]
)
def test_a_page_of_this_machine_may_push(gateway: Gateway, origin: str) -> None:
    response = gateway.send("POST", "/api/push", DEMO, {"Origin": origin})
    assert (response.status, response.headers["access-control-allow-origin"]) == (200, origin)
    asked = gateway.send("OPTIONS", "/api/push", headers={"Origin": origin})
    assert asked.status == 204
    assert "POST" in asked.headers["access-control-allow-methods"]


def test_origins_can_be_allowed_by_pattern(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), origins=("https://*.example.com",))) as gateway:
        assert gateway.send("GET", "/api/version", headers={"Origin": "https://ui.example.com"}).status == 200
        assert gateway.send("GET", "/api/version", headers={"Origin": "http://ui.example.com"}).status == 403


def test_the_gateways_own_page_needs_no_permission(gateway: Gateway) -> None:
    response = gateway.send("GET", "/ui", headers={"Host": "box.local:11434", "Origin": "http://box.local:11434"})
    assert response.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Token s3cret"},
        {"Authorization": "Basic !!"},
        {"Authorization": "Basic eDp3cm9uZw=="},
        {"Authorization": "Bearer s3cret2"},
    ],
    ids=str,
)
def test_without_the_token_nothing_is_told(tmp_path: Path, headers: Mapping[str, str]) -> None:
    with Gateway(settings_for(store_of(tmp_path), token="s3cret")) as gateway:
        for method, path in (
            ("POST", "/api/push"),
            ("GET", "/api/tags"),
            ("GET", "/metrics"),
            ("GET", "/ui"),
            ("GET", "/x"),
        ):
            response = gateway.send(method, path, DEMO if method == "POST" else b"", headers)
            assert response.status == 401
            assert "s3cret" not in response.body.decode() + str(response.headers)
            assert response.headers["www-authenticate"].startswith("Basic" if path == "/ui" else "Bearer")


def test_with_the_token_all_is_as_without_one(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), token="s3cret")) as gateway:
        assert gateway.send("POST", "/api/push", DEMO, {"Authorization": "Bearer s3cret"}).status == 200
        # What a browser sends once it was asked: any name, the token as password.
        assert gateway.send("GET", "/ui", headers={"Authorization": "Basic eDpzM2NyZXQ="}).status == 200
        for probed in ("/", "/healthz"):
            assert gateway.send("GET", probed).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.169.254:80",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0:5000",
        "0",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_a_name_cannot_reach_metadata_and_the_like(gateway: Gateway, host: str) -> None:
    for stream in (True, False):
        response = gateway.push({"model": f"{host}/team/demo", "insecure": True, "stream": stream})
        assert response.status == 403
        assert "does not push there" in response.error
    assert gateway.records() == ()


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "127.1", "2130706433:5000", "0x7f000001"])
def test_clients_from_elsewhere_cannot_reach_this_machine(tmp_path: Path, host: str) -> None:
    with Gateway(settings_for(store_of(tmp_path), loopback=False)) as gateway:
        assert gateway.push({"model": f"{host}/team/demo", "insecure": True}).status == 403


def test_a_dns_name_that_leads_to_this_machine_is_found_out_when_it_is_resolved(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        host = f"localhost:{registry.host.partition(':')[2]}"
        store = store_of(tmp_path, f"{host}/team/demo/latest")
        with Gateway(settings_for(store, loopback=False)) as gateway:
            response = gateway.push({"model": f"{host}/team/demo", "insecure": True})
        assert response.status == 200
        assert response.error.startswith("this gateway does not go there: localhost is")
        assert registry.requests == []
        with Gateway(settings_for(store, loopback=False, allow=(host,))) as gateway:
            assert gateway.push({"model": f"{host}/team/demo", "insecure": True}).lines[-1] == {"status": "success"}


def test_a_location_cannot_lead_to_metadata(tmp_path: Path) -> None:
    quirks = Quirks(foreign_location="http://169.254.169.254")
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway:
            response = gateway.push({"model": f"{registry.host}/team/demo", "insecure": True})
    assert response.error.startswith("this gateway does not go there: 169.254.169.254 is")


@pytest.mark.parametrize(
    "realm", ["https://169.254.169.254/token", "https://[fd00:ec2::254]/token", "https://[::ffff:169.254.169.254]/t"]
)
def test_a_token_realm_cannot_lead_to_metadata(tmp_path: Path, realm: str) -> None:
    asked = Reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})
    with EmbeddedRegistry(tmp_path / "registry", faults=[Fault("HEAD", times=None, action=asked)]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway:
            response = gateway.push(
                {
                    "model": f"{registry.host}/team/demo",
                    "insecure": True,
                    "username": "alice",
                    "password": "open-sesame",
                }
            )
    assert "this gateway does not go there" in response.error
    assert "open-sesame" not in response.body.decode()


def test_only_registries_on_the_list_are_pushed_to(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        names = [f"{registry.host}/team/demo/latest", "other.example.com/team/demo/latest"]
        with Gateway(settings_for(store_of(tmp_path, *names), allow=("127.0.0.1",))) as gateway:
            assert gateway.push({"model": f"{registry.host}/team/demo", "insecure": True}).status == 200
            for name in ("other.example.com/team/demo", "team/demo", "127.0.0.1.evil.com/team/demo"):
                response = gateway.push({"model": name})
                assert response.status == 403
                assert "does not push to" in response.error


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd",
        "a/../b",
        "..",
        "host.example.com/../../x",
        "host.example.com/team/..",
        "host.example.com/team/demo:../../../../etc/passwd",
        "host.example.com/team/demo:..",
        "host.example.com/team/%2e%2e",
        "host.example.com/team\\..\\x",
        "host.example.com/team\x00x/demo",
        "host.example.com/team/demo\r\nX-Evil: 1",
        "user:secret-word@host.example.com/team/demo",
        "host.example.com#/team/demo",
        "host.example.com?x=/team/demo",
        "[::1]:5000/team/demo",
        "/etc/passwd",
    ],
)
def test_a_name_cannot_leave_its_place(gateway: Gateway, tmp_path: Path, name: str) -> None:
    response = gateway.push({"model": name})
    assert response.status == 200
    assert response.error.startswith("unqualified name: ")
    assert "root:" not in response.body.decode()
    assert response.body.count(b"\n") == 3
    assert "x-evil" not in response.headers


def test_header_injection_by_request_target_is_no_header(gateway: Gateway) -> None:
    response = gateway.send("POST", "/api/push/?a=%0d%0aX-Evil:%201")
    assert response.status == 307
    assert response.headers["location"] == "/api/push?a=%0d%0aX-Evil:%201"
    assert "x-evil" not in response.headers


def test_a_body_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), max_body_bytes=1000, body_timeout=0.3)) as gateway:
        with gateway.connect() as peer:
            peer.sendall(
                request_of("POST", "/api/push", headers={"Content-Length": "1001", "Connection": "keep-alive"})
            )
            response = parse(b"".join(iter(lambda: peer.recv(65536), b"")))
        assert response.status == 413
        assert "1000 bytes" in response.error
        chunked = request_of("POST", "/api/push", headers={"Transfer-Encoding": "chunked"}).replace(
            b"Content-Length: 0\r\n", b""
        )
        body = b"3e9\r\n" + b" " * 1001 + b"\r\n0\r\n\r\n"
        assert parse(gateway.raw(chunked + body)).status == 413
        # Exactly as much is taken.
        assert gateway.send("POST", "/api/push", DEMO + b" " * (1000 - len(DEMO))).status == 200


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), body_timeout=0.1)) as gateway, gateway.connect() as peer:
        peer.sendall(request_of("POST", "/api/push", headers={"Content-Length": "50", "Connection": "keep-alive"}))
        peer.sendall(b'{"model":')
        response = parse(b"".join(iter(lambda: peer.recv(65536), b"")))
    assert response.status == 408
    assert "0.1 s" in response.error


def test_a_packed_body_is_refused_and_not_unpacked(gateway: Gateway) -> None:
    response = gateway.send("POST", "/api/push", b"\x1f\x8b\x08\x00bomb", {"Content-Encoding": "gzip"})
    assert response.status == 400
    assert json.loads(response.body) == {"error": r"invalid character '\x1f' looking for beginning of value"}


def test_no_answer_names_what_the_gateway_is_made_of(gateway: Gateway) -> None:
    for path in ("/", "/api/version", "/nope", "/api/push"):
        assert "server" not in gateway.send("GET", path).headers


def test_an_old_client_without_http_1_1_gets_its_lines_too(gateway: Gateway) -> None:
    body = b'{"model":"a/b/c/d"}'
    raw = gateway.raw(b"POST /api/push HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert b"transfer-encoding" not in head.lower()
    assert rest.endswith(b'{"error":"unqualified name: a/b/c/d:latest"}\n')


def test_a_connection_that_says_nothing_harms_nobody(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)):
        assert gateway.send("GET", "/").status == 200
