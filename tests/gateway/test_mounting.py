"""Where the gateway is mounted, and which routes ask for the token there: all but three, however they are spelt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest
from aiohttp import web
from tests.support.blobs import MIB
from tests.support.gateway import PATIENCE, Gateway, lines_of, request_of, settings_for, store_of
from tests.support.gateway_requests import BIG, order_for, stalling

from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.testing.registry import EmbeddedRegistry

TOKEN: Final = "open-sesame"
SHOWN: Final = {"Authorization": f"Bearer {TOKEN}"}
OPEN: Final = {"/", "/healthz"}
PREFIXES: Final = ("", "/ollama", "/tools/ollama")


@attrs.frozen
class Place:
    """Somebody's application that has the gateway under a prefix, or nothing but the gateway."""

    prefix: str

    def app(self, settings: GatewaySettings) -> web.Application:
        if not self.prefix:
            return create_app(settings)
        outer = web.Application()
        outer.router.add_get("/", _theirs)
        outer.add_subapp(self.prefix, create_app(settings))
        return outer


async def _theirs(_request: web.Request) -> web.Response:
    return web.Response(text="somebody else's page")


@pytest.fixture(scope="module", params=PREFIXES, ids=lambda prefix: prefix or "alone")
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param)


@pytest.fixture(scope="module")
def locked(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a token, where OPTIONS is no way around it either."""
    settings = settings_for(
        store_of(tmp_path_factory.mktemp("store")),
        token=TOKEN,
        loopback=False,
        default_registry="127.0.0.1:1",  # where nothing listens
        plain_http=True,
    )
    with Gateway(settings, place.app) as gateway:
        yield gateway


def status(gateway: Gateway, method: str, target: str, headers: dict[str, str] | None = None) -> int:
    """The status alone: one of the responses has no end."""
    with gateway.connect() as peer:
        peer.sendall(request_of(method, target, headers=headers))
        raw = b""
        while b"\r\n" not in raw:
            raw += peer.recv(4096)
    return int(raw.split(b" ", 2)[1])


def routes(tmp_path: Path) -> list[tuple[str, str]]:
    app = create_app(settings_for(store_of(tmp_path)))
    filled = {"name": "team/demo", "reference": "v1", "digest": f"sha256:{'ab' * 32}"}
    return [
        (route.method, route.resource.canonical.format_map(filled))
        for route in app.router.routes()
        if route.resource is not None
    ]


def test_every_route_but_three_wants_the_token(locked: Gateway, place: Place, tmp_path: Path) -> None:
    served = routes(tmp_path)
    assert {path for _, path in served} >= {*OPEN, "/api/push", "/api/tags", "/api/version", "/metrics", "/ui/events"}
    without = {(method, path): status(locked, method, place.prefix + path) for method, path in served}
    assert {path for (_, path), got in without.items() if got == 200} == OPEN
    # The address of a blob is its own token: what is missing here is the signature.
    assert {got for (_, path), got in without.items() if path.startswith("/direct/")} == {403}
    assert {got for (_, path), got in without.items() if path not in OPEN and not path.startswith("/direct/")} == {401}
    with_it = {path: status(locked, method, place.prefix + path, SHOWN) for method, path in served}
    # An order without a body is none, and the registry is not there.
    failed = {path.partition("/team/demo")[0] or path: got for path, got in with_it.items() if got != 200}
    assert failed == {"/api/push": 400, "/v2": 502, "/direct": 403}


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/nope", 404),
        ("/healthz/", 307),
        ("//healthz", 307),
        ("/./healthz", 307),
        ("/x/../healthz", 307),
        ("/ui/../api/tags", 307),
        ("/healthz/../api/tags", 307),
        ("/api/push/", 307),
        ("/api/tags/", 307),
        ("/ui/", 307),
        ("/healthz%2f", 404),
        ("/%2e/healthz", 404),
        ("/healthz%00", 404),
        ("/healthz;x", 404),
        ("/HEALTHZ", 404),
        ("/api%2fpush", 404),
        ("/api/tags%2f", 404),
        ("/api/tags?x=/", 200),
        ("/api/tags?/healthz", 200),
        ("/%61pi/tags", 200),
        ("/metrics#/healthz", 200),
    ],
)
def test_nothing_is_open_because_of_how_it_is_spelt(locked: Gateway, place: Place, target: str, shown: int) -> None:
    assert status(locked, "GET", place.prefix + target) == 401
    assert status(locked, "GET", place.prefix + target, SHOWN) == shown


@pytest.mark.parametrize("target", ["/healthz", "/%68ealthz", "/healthz?x=1", "/healthz?", "/"])
def test_what_is_open_is_so_however_it_is_spelt(locked: Gateway, place: Place, target: str) -> None:
    assert status(locked, "GET", place.prefix + target) == 200
    assert status(locked, "GET", f"http://localhost{place.prefix}{target}") == 200


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/push", "/api/tags", "/nope"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND"])
def test_no_method_is_a_way_in(locked: Gateway, place: Place, method: str, path: str) -> None:
    assert status(locked, method, place.prefix + path) == 401
    assert status(locked, method, place.prefix + path, SHOWN) == (404 if path == "/nope" else 405)


@pytest.mark.parametrize("target", ["/api/tags", "/healthz", "localhost:80"])
def test_it_is_no_proxy(locked: Gateway, place: Place, target: str) -> None:
    assert status(locked, "CONNECT", target, SHOWN) in (307, 404)
    # Its target is no path: mounted, it is never ours.
    assert status(locked, "CONNECT", target) == (404 if place.prefix else 401)


def test_what_others_add_wants_the_token_too(tmp_path: Path) -> None:
    app = create_app(settings_for(store_of(tmp_path), token=TOKEN))
    for path in ("/more/", "/more/healthz", "/more/ui"):
        app.router.add_get(path, _theirs)
    with Gateway(settings_for(store_of(tmp_path)), lambda _settings: app) as gateway:
        for path in ("/more/", "/more/healthz", "/more/ui"):
            response = gateway.send("GET", path)
            assert (response.status, response.headers["www-authenticate"].split()[0]) == (401, "Bearer")
            assert gateway.send("GET", path, headers=SHOWN).status == 200


def test_the_application_around_it_keeps_its_own_ways(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), token=TOKEN), Place("/ollama").app) as gateway:
        assert gateway.send("GET", "/", headers={"Host": "models.example.com"}).body == b"somebody else's page"
        assert gateway.send("GET", "/healthz").status == 404


def test_all_of_it_works_under_a_prefix(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store), Place("/ollama").app) as gateway:
            body = json.dumps(order_for(registry)).encode()
            assert gateway.send("POST", "/ollama/api/push", body).lines[-1] == {"status": "success"}
            assert gateway.send("POST", "/ollama/api/push/", body).headers["location"] == "/ollama/api/push"
            assert gateway.send("GET", "/ollama/api/push").status == 405
            assert gateway.send("GET", "/ollama/", headers={"Host": "evil.example.com"}).status == 403
            assert gateway.send("GET", "/ollama/healthz").lines == [{"status": "ok", "pushes": 0}]
            measured = gateway.send("GET", "/ollama/metrics").body
            assert b'ollama_push_pushes_total{error="",outcome="succeeded"} 1.0' in measured
            page = gateway.send("GET", "/ollama/ui").body.decode()
            assert "team/demo" in page
            # What it loads lies beside it.
            assert 'new EventSource("ui/events")' in page
            assert 'src="/' not in page
            assert 'href="/' not in page


def test_when_the_application_around_it_ends_its_streams_end_too(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling()]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        with (
            Gateway(settings_for(store, shutdown_grace=0.2), Place("/ollama").app) as gateway,
            gateway.connect() as pusher,
            gateway.connect() as watcher,
        ):
            pusher.sendall(request_of("POST", "/ollama/api/push", json.dumps(order_for(registry)).encode()))
            assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
            watcher.sendall(request_of("GET", "/ollama/ui/events"))
            seen = b""
            while b"event: whole" not in seen:
                seen += watcher.recv(65536)
            gateway.tell_to_stop()
            assert list(lines_of(pusher))[-1]["error"].endswith(": context canceled")
            assert b"".join(iter(lambda: watcher.recv(65536), b"")).endswith(b"0\r\n\r\n")
