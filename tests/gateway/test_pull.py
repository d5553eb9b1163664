"""Pulls through the gateway: by a client that follows a stock Ollama's rules, and by clients of registries."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.support.blob_peer import BlobPeer, blob_peer
from tests.support.blobs import digest_of, noise
from tests.support.gateway import Gateway, settings_for, store_of
from tests.support.gateway_process import wait_until
from tests.support.gateway_pulls import BLOB, DIGEST, KEY, ME, NAME, Pulling, as_basic, pulling
from tests.support.stock_pull import PullFailed, StockPull
from tests.support.stores import CONFIG

from ollama_push import Login, RegistryClient
from ollama_push.testing.registry import Auth, BasicAuth, Fault, Quirks, Reply, TokenAuth

_USERS = {ME.username: ME.password}
_RIGHTS = {ME.username: {NAME: ("pull", "push")}}
MANIFESTS = f"/v2/{NAME}/manifests"
BLOBS = f"/v2/{NAME}/blobs"


def _auth(kind: str) -> Auth | None:
    match kind:
        case "login":
            return BasicAuth(_USERS)
        case "realm elsewhere":
            return TokenAuth(_USERS, _RIGHTS)
    return None


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("open", "http: no Location header in response"),
        ("login", "does not match original host"),
        ("realm elsewhere", "does not match original host"),
    ],
)
def test_a_stock_pull_succeeds_through_the_gateway_and_fails_without(kind: str, says: str, tmp_path: Path) -> None:
    with pulling(tmp_path, auth=_auth(kind), credential=ME) as place:
        stock = StockPull(tmp_path / "pulled", least_part=200_000)
        assert stock.pull(place.host, NAME) == place.manifest
        for blob in (BLOB, b"a template", CONFIG):
            assert stock.blob_path(digest_of(blob)).read_bytes() == blob
        with pytest.raises(PullFailed) as failed:
            StockPull(tmp_path / "without").pull(place.registry.host, NAME)
    assert says in str(failed.value)
    ranges = [wanted for method, url, wanted in stock.asked if f"/direct/{NAME}/blobs/{DIGEST}" in url]
    assert len(set(ranges)) == len(ranges) == 15
    assert {url.split("/")[2] for _, url, wanted in stock.asked if wanted} == {f"localhost:{place.gateway.port}"}


def test_a_pull_in_another_spelling_of_the_loopback_is_led_to_the_first(tmp_path: Path) -> None:
    with pulling(tmp_path) as place:
        found = place.get(f"{BLOBS}/{DIGEST}", host=f"localhost:{place.gateway.port}")
    assert found.status == 307
    assert found.headers["location"].startswith(f"http://127.0.0.1:{place.gateway.port}/direct/{NAME}/blobs/{DIGEST}?")


def test_the_gateway_is_a_registry_that_a_stock_pull_gets_the_model_from(tmp_path: Path) -> None:
    with (
        pulling(tmp_path, auth=BasicAuth(_USERS), credential=ME) as place,
        RegistryClient(store=tmp_path / "models", plain_http=True) as client,
    ):
        found = client.pullability(f"{place.host}/{NAME}", source="my-llama")
        assert client.verify(f"{place.host}/{NAME}", source="my-llama").blobs == 4
    assert (found.is_pullable, found.asked_blobs) == (True, 4)
    assert [each.problem.value for each in found.obstacles] == ["plain-http"]


def test_a_model_is_pulled_from_below_a_path_and_from_an_allowed_registry(tmp_path: Path) -> None:
    with pulling(tmp_path, repository=f"project/{NAME}") as place:
        host = place.registry.host
        below = settings_for(
            store_of(tmp_path / "2"), default_registry=f"{host}/project", plain_http=True, pull_key=KEY
        )
        with Gateway(below) as gateway:
            stock = StockPull(tmp_path / "pulled")
            assert stock.pull(f"127.0.0.1:{gateway.port}", NAME) == place.manifest
        allowed = settings_for(
            store_of(tmp_path / "3"), default_registry="reg.test:1", allow=(host,), plain_http=True, pull_key=KEY
        )
        with Gateway(allowed) as gateway:
            for name in (host, "127.0.0.1"):
                found = gateway.send("GET", f"/v2/{name}/project/{NAME}/manifests/latest")
                assert (found.status, found.body) == (200, place.manifest)


# --- manifests


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_comes_as_it_is(method: str, tmp_path: Path) -> None:
    with pulling(tmp_path) as place:
        by_tag = place.get(f"{MANIFESTS}/latest", method)
        by_digest = place.get(f"{MANIFESTS}/{digest_of(place.manifest)}", method)
    for found in (by_tag, by_digest):
        assert (found.status, found.body) == (200, place.manifest if method == "GET" else b"")
        assert found.headers["content-length"] == str(len(place.manifest))
        assert found.headers["docker-content-digest"] == digest_of(place.manifest)
        assert found.headers["content-type"] == "application/vnd.docker.distribution.manifest.v2+json"
        assert found.headers["docker-distribution-api-version"] == "registry/2.0"


def test_another_manifest_than_the_digest_names_is_not_passed_on(tmp_path: Path) -> None:
    with pulling(tmp_path, quirks=Quirks(wrong_manifest=True)) as place:
        found = place.get(f"{MANIFESTS}/{digest_of(place.manifest)}")
    assert found.status == 502
    assert json.loads(found.body)["errors"][0]["code"] == "DIGEST_INVALID"


def test_another_manifest_than_the_registry_announces_is_not_passed_on(tmp_path: Path) -> None:
    """Found with the fault laboratory: the gateway would announce the digest of what was damaged on its way."""
    with pulling(tmp_path) as place:
        headers = {"Docker-Content-Digest": digest_of(place.manifest)}
        place.registry.add_fault(Fault("GET", "/manifests/", action=Reply(200, headers, place.manifest + b" ")))
        damaged = place.get(f"{MANIFESTS}/latest")
        whole = place.get(f"{MANIFESTS}/latest")
    assert damaged.status == 502
    assert json.loads(damaged.body)["errors"][0]["code"] == "DIGEST_INVALID"
    assert (whole.status, whole.body) == (200, place.manifest)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{MANIFESTS}/latest", b"x" * 8_000_001, 502),
        (f"/v2/{NAME}/tags/list", b"no list", 502),
        (f"/v2/{NAME}/tags/list", b"[]", 502),
        (f"{MANIFESTS}/latest", b"no manifest", 200),
    ],
    ids=["too long", "no JSON", "no object", "what it is is not ours to judge"],
)
def test_what_a_registry_sends_instead_is_bounded(path: str, body: bytes, status: int, tmp_path: Path) -> None:
    with pulling(tmp_path) as place:
        place.registry.add_fault(Fault("GET", path, action=Reply(200, {}, body)))
        assert place.get(path).status == status
        assert place.get(path).status == 200


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        (Reply(429, {"Retry-After": "7"}), 429, "TOOMANYREQUESTS"),
        (Reply(503), 503, "UNKNOWN"),
        (Reply(500), 502, "UNKNOWN"),
        (Reply(403), 403, "DENIED"),
        (Reply(304), 502, "UNKNOWN"),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_a_refusal_is_passed_on_as_far_as_it_is_the_clients_business(
    given: Reply, status: int, code: str, tmp_path: Path
) -> None:
    with pulling(tmp_path) as place:
        place.registry.add_fault(Fault("GET", MANIFESTS, action=given))
        found = place.get(f"{MANIFESTS}/latest")
    assert (found.status, found.headers.get("retry-after")) == (status, given.headers.get("Retry-After"))
    assert json.loads(found.body)["errors"][0]["code"] == code


def test_what_the_registry_lacks_is_not_found(tmp_path: Path) -> None:
    with pulling(tmp_path) as place:
        manifest, blob = place.get(f"{MANIFESTS}/v9"), place.get(f"{BLOBS}/sha256:{'ab' * 32}")
    for found, code in ((manifest, "MANIFEST_UNKNOWN"), (blob, "NOT_FOUND")):
        assert found.status == 404
        assert json.loads(found.body)["errors"][0]["code"] == code


def test_tags_are_listed_under_the_name_that_was_asked_for(tmp_path: Path) -> None:
    with pulling(tmp_path, repository=f"project/{NAME}") as place:
        host = place.registry.host
        with RegistryClient(store=tmp_path / "models", plain_http=True) as client:
            client.push(f"{host}/project/{NAME}:v2", source="my-llama")
        below = settings_for(
            store_of(tmp_path / "2"), default_registry=f"{host}/project", plain_http=True, pull_key=KEY
        )
        with Gateway(below) as gateway:
            found = gateway.send("GET", f"/v2/{NAME}/tags/list?n=1")
            assert json.loads(found.body) == {"name": NAME, "tags": ["latest"]}
            assert found.headers["link"] == f'</v2/{NAME}/tags/list?n=1&last=latest>; rel="next"'
            following = gateway.send("GET", f"/v2/{NAME}/tags/list?n=1&last=latest")
            assert json.loads(following.body)["tags"] == ["v2"]
            assert "link" not in following.headers


# --- blobs


def test_the_size_of_a_blob_is_told(tmp_path: Path) -> None:
    with pulling(tmp_path) as place:
        for path in (f"{BLOBS}/{DIGEST}", place.direct()):
            found = place.get(path, "HEAD")
            assert (found.status, found.headers["content-length"], found.body) == (200, str(len(BLOB)), b"")
            assert found.headers["docker-content-digest"] == DIGEST


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("", 200, 0, len(BLOB)),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=1000-1999", 206, 1000, 2000),
        ("bytes=2999999-", 206, 2_999_999, len(BLOB)),
        ("bytes=2999990-9999999999", 206, 2_999_990, len(BLOB)),
        ("bytes=-5", 206, len(BLOB) - 5, len(BLOB)),
        ("bytes=-9999999999", 206, 0, len(BLOB)),
        ("bytes=0-1,5-6", 200, 0, len(BLOB)),
        ("bytes=5-1", 200, 0, len(BLOB)),
        ("items=0-1", 200, 0, len(BLOB)),
    ],
)
def test_a_range_is_what_was_asked_for(place: Pulling, wanted: str, status: int, start: int, end: int) -> None:
    for path, more in ((place.direct(), {}), (f"{BLOBS}/{DIGEST}", as_basic(ME))):
        found = place.get(path, headers={"Range": wanted, **more} if wanted else more)
        assert (found.status, found.headers["content-length"]) == (status, str(end - start))
        assert found.body == BLOB[start:end]
        expected = f"bytes {start}-{end - 1}/{len(BLOB)}" if status == 206 else None
        assert found.headers.get("content-range") == expected


@pytest.mark.parametrize("wanted", ["bytes=3000000-", "bytes=-0"])
def test_a_range_behind_the_end_is_none(place: Pulling, wanted: str) -> None:
    assert place.get(place.direct(), headers={"Range": wanted}).status == 416


def test_an_empty_blob_is_one(place: Pulling) -> None:
    found = place.get(place.direct(digest_of(b"")))
    assert (found.status, found.body, found.headers["content-length"]) == (200, b"", "0")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulling]:
    with pulling(tmp_path_factory.mktemp("pull"), auth=BasicAuth(_USERS), credential=ME) as made:
        yield made


def test_a_registry_that_redirects_itself_is_followed(tmp_path: Path) -> None:
    with pulling(tmp_path, quirks=Quirks(redirect_blobs=True)) as place:
        assert place.get(place.direct(), headers={"Range": "bytes=5-9"}).body == BLOB[5:10]


def _before(tmp_path: Path, peer: BlobPeer) -> Gateway:
    return Gateway(
        settings_for(store_of(tmp_path), default_registry=peer.host, plain_http=True, pull_key=KEY, stall_timeout=20.0)
    )


_ANYBODY = as_basic(Login("x", "y"))


def _asking(digest: str, wanted: str = "") -> bytes:
    """Return a request for a blob by somebody who takes it here."""
    headers = {**_ANYBODY, **({"Range": wanted} if wanted else {})}
    lines = [f"GET {BLOBS}/{digest} HTTP/1.1", "Host: localhost", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def _held(gateway: Gateway, peer: BlobPeer) -> Iterator[socket.socket]:
    """Ask for a blob of which the registry sends no more than a beginning."""
    with gateway.connect() as client:
        client.sendall(_asking(peer.digest))
        assert peer.sending.wait(20.0)
        yield client


@pytest.mark.parametrize(("wanted", "start", "end"), [("", 0, 500_000), ("bytes=100-399999", 100, 400_000)])
def test_a_connection_that_breaks_is_opened_again_where_it_broke(
    wanted: str, start: int, end: int, tmp_path: Path
) -> None:
    with blob_peer(BlobPeer(noise(500_000, 3), most_bytes=150_000)) as peer, _before(tmp_path, peer) as gateway:
        headers = {**_ANYBODY, **({"Range": wanted} if wanted else {})}
        found = gateway.send("GET", f"{BLOBS}/{peer.digest}", headers=headers)
        assert found.body == peer.blob[start:end]
    assert peer.ranges == [wanted, *(f"bytes={at}-{end - 1}" for at in range(start + 150_000, end, 150_000))]


def test_a_registry_without_ranges_is_read_up_to_them(tmp_path: Path) -> None:
    with (
        blob_peer(BlobPeer(noise(500_000, 3), knows_ranges=False, tells_size=False)) as peer,
        _before(tmp_path, peer) as gateway,
    ):
        found = gateway.send("GET", f"{BLOBS}/{peer.digest}", headers={**_ANYBODY, "Range": "bytes=400000-400009"})
        assert (found.status, found.body) == (206, peer.blob[400_000:400_010])
        assert gateway.send("HEAD", f"{BLOBS}/{peer.digest}").headers["content-length"] == "500000"


@pytest.mark.parametrize(
    "peer",
    [
        BlobPeer(noise(500_000, 3), most_bytes=0),
        BlobPeer(noise(500_000, 3), most_bytes=1000, refuses_after=1),
        BlobPeer(noise(500_000, 3), shifts=5),
    ],
    ids=["never", "not any more", "another range"],
)
def test_what_does_not_arrive_is_no_complete_response(peer: BlobPeer, tmp_path: Path) -> None:
    with blob_peer(peer), _before(tmp_path, peer) as gateway:
        received = b""
        with gateway.connect() as client:
            client.sendall(_asking(peer.digest, "bytes=0-400000"))
            with suppress(ConnectionResetError):
                while piece := client.recv(65536):
                    received += piece
        assert len(received) < 400_000
        # And the gateway goes on.
        assert gateway.send("GET", "/healthz").status == 200


def test_a_blob_whose_size_nobody_says_is_refused(tmp_path: Path) -> None:
    with blob_peer(BlobPeer(b"x" * 10, tells_length=False)) as peer, _before(tmp_path, peer) as gateway:
        assert gateway.send("GET", f"{BLOBS}/{peer.digest}", headers=_ANYBODY).status == 502


def test_a_puller_that_leaves_frees_the_connection_to_the_registry(tmp_path: Path) -> None:
    with blob_peer(BlobPeer(noise(500_000, 3), holds=True)) as peer, _before(tmp_path, peer) as gateway:
        with _held(gateway, peer) as client:
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
            assert not peer.gone.is_set()
        assert peer.gone.wait(20.0)
        assert wait_until(lambda: b'outcome="cancelled",what="blob"} 1.0' in gateway.send("GET", "/metrics").body)
        assert b"ollama_push_pulls_in_progress 0.0" in gateway.send("GET", "/metrics").body


def test_a_puller_that_leaves_before_the_registry_responds_frees_it_too(tmp_path: Path) -> None:
    with blob_peer(BlobPeer(b"x", holds_size=True)) as peer, _before(tmp_path, peer) as gateway:
        with gateway.connect() as client:
            client.sendall(f"GET {BLOBS}/{peer.digest} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert peer.sending.wait(20.0)
            assert not peer.gone.is_set()
        assert peer.gone.wait(20.0)


def test_the_end_of_the_gateway_ends_pulls(tmp_path: Path) -> None:
    with (
        blob_peer(BlobPeer(noise(500_000, 3), holds=True)) as peer,
        _before(tmp_path, peer) as gateway,
        _held(gateway, peer),
    ):
        gateway.stop()
        assert peer.gone.wait(20.0)


# --- counts


def test_what_is_pulled_is_measured(tmp_path: Path) -> None:
    with pulling(tmp_path) as place:
        StockPull(tmp_path / "pulled", least_part=1_000_000).pull(place.host, NAME)
        assert place.get(f"{MANIFESTS}/v9").status == 404
        text = place.get("/metrics").body.decode()
    assert 'ollama_push_pulls_total{outcome="succeeded",what="manifest"} 1.0' in text
    assert 'ollama_push_pulls_total{outcome="failed",what="manifest"} 1.0' in text
    # Three ranges of the large one, and two that fit into one; the empty one has none.
    assert 'ollama_push_pulls_total{outcome="succeeded",what="blob"} 5.0' in text
    total = len(BLOB) + len(b"a template") + len(CONFIG)
    [counted] = re.findall(r'^ollama_push_pulled_bytes_total\{source="registry"\} (\S+)$', text, re.MULTILINE)
    assert float(counted) == total


def test_the_page_tells_of_pulls(tmp_path: Path) -> None:
    with pulling(tmp_path) as place:
        assert b'<p id="pulls"></p>' in place.get("/ui").body
        StockPull(tmp_path / "pulled").pull(place.host, NAME)
        text = place.get("/ui").body.decode()
    assert '<p id="pulls">Pulls: 0 running, 1 manifests and 3 blobs or ranges sent, 3.0 MB</p>' in text


def test_more_pulls_than_may_are_told_to_come_again(tmp_path: Path) -> None:
    with blob_peer(BlobPeer(noise(500_000, 3), holds=True)) as peer:
        settings = settings_for(
            store_of(tmp_path), default_registry=peer.host, plain_http=True, pull_key=KEY, max_pulls=1
        )
        with Gateway(settings) as gateway, _held(gateway, peer):
            found = gateway.send("GET", f"{BLOBS}/{peer.digest}", headers=_ANYBODY)
            assert (found.status, found.headers["retry-after"]) == (503, "5")
            assert gateway.send("GET", "/healthz").status == 200
