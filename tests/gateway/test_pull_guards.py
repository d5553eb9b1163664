"""What nobody gets from the pull side of the gateway: other addresses, other names, other logins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from tests.support.blobs import digest_of
from tests.support.gateway import Gateway, settings_for, store_of
from tests.support.gateway_pulls import BLOB, DIGEST, KEY, ME, NAME, Pulling, as_basic, pulling

from ollama_push import Login
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry

_USERS = {ME.username: ME.password}
MANIFEST = f"/v2/{NAME}/manifests/latest"
BLOB_PATH = f"/v2/{NAME}/blobs/{DIGEST}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulling]:
    with pulling(tmp_path_factory.mktemp("guards"), auth=BasicAuth(_USERS), credential=ME) as made:
        yield made


# --- signed addresses


def _changed(url: str, **changes: str) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **changes}
    return f"{parts.path}?{urlencode({key: value for key, value in query.items() if value})}"


@pytest.mark.parametrize(
    "change",
    [
        lambda url: _changed(url, signature=""),
        lambda url: _changed(url, expires=""),
        lambda url: _changed(url, signature="0" * 64),
        lambda url: _changed(url, signature=dict(parse_qsl(urlsplit(url).query))["signature"][:-1]),
        lambda url: _changed(url, signature="\u00e9\u20ac"),
        lambda url: _changed(url, expires="99999999999"),
        lambda url: _changed(url, expires="x"),
        lambda url: url.replace(DIGEST, digest_of(b"a template")),
        lambda url: url.replace(NAME, "team/other"),
        lambda url: url.replace(NAME, f"x/{NAME}"),
        lambda url: url.partition("?")[0],
    ],
    ids=[
        "no signature",
        "no end",
        "other signature",
        "short signature",
        "no ASCII",
        "later",
        "no number",
        "other blob",
        "other name",
        "longer name",
        "nothing",
    ],
)
def test_an_address_that_was_altered_is_refused(place: Pulling, change: Callable[[str], str]) -> None:
    url = place.direct()
    asked = len(place.registry.requests)
    found = place.get(change(url))
    assert found.status == 403
    assert json.loads(found.body)["errors"][0]["code"] == "DENIED"
    assert len(place.registry.requests) == asked
    assert place.get(url, headers={"Range": "bytes=0-9"}).body == BLOB[:10]


def test_an_address_of_another_gateway_is_refused(place: Pulling, tmp_path: Path) -> None:
    other = settings_for(store_of(tmp_path), default_registry=place.registry.host, plain_http=True, pull_key=b"o" * 32)
    with Gateway(other) as gateway:
        assert gateway.send("GET", place.direct()).status == 403


def test_an_address_leads_only_where_its_name_leads_now(place: Pulling, tmp_path: Path) -> None:
    stricter = settings_for(store_of(tmp_path), allow=("reg.test",), plain_http=True, pull_key=KEY)
    with Gateway(stricter) as gateway:
        assert gateway.send("GET", place.direct()).status == 403


# --- names


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../v2/team/my-llama/manifests/latest",
        "/v2/team/../../etc/manifests/latest",
        "/v2/team/%2e%2e/x/manifests/latest",
        "/v2/%2e%2e%2fsecret/manifests/latest",
        "/v2/team%2f..%2fx/manifests/latest",
        "/v2/team/my-llama%00/manifests/latest",
        "/v2/team/my-llama%3Fx/manifests/latest",
        "/v2/team//my-llama/manifests/latest",
        "/v2/Team/my-llama/manifests/latest",
        "/v2/team/my-llama/manifests/..%2f..%2fx",
        "/v2/team/my-llama/manifests/%2e%2e",
        "/v2/team/my-llama/manifests/latest%3fx=y",
        "/v2/team/my-llama/manifests/sha256:zz",
        "/v2/user:pass@127.0.0.1/x/manifests/latest",
        "/v2/" + "a/" * 200 + "b/manifests/latest",
        "/v2/team/my-llama/blobs/sha256:..%2f",
        "/v2/team/my-llama/blobs/sha512:" + "ab" * 64,
        "/v2/team/my-llama/blobs/" + DIGEST.upper(),
        "/v2/team/my-llama/blobs/uploads/",
        "/v2/_catalog",
        "/v2/team/my-llama/tags/list/x",
    ],
)
def test_a_path_leads_nowhere_else(place: Pulling, path: str) -> None:
    asked = len(place.registry.requests)
    assert place.get(path).status in {307, 400, 404}
    assert len(place.registry.requests) == asked


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v2/", MANIFEST, BLOB_PATH, f"/v2/{NAME}/blobs/uploads/", f"/direct/{NAME}/blobs/x"])
def test_nothing_can_be_written(place: Pulling, method: str, path: str) -> None:
    asked = len(place.registry.requests)
    assert place.get(path, method).status in {404, 405}
    assert len(place.registry.requests) == asked


@pytest.mark.parametrize("listed", [(), ("allowed.test",)], ids=["no list", "a list"])
@pytest.mark.parametrize("host", ["reg.test", "127.0.0.1", "169.254.169.254", "metadata.google.internal"])
def test_a_host_outside_the_list_is_a_part_of_a_name_in_the_default_registry(
    place: Pulling, host: str, listed: tuple[str, ...], tmp_path: Path
) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as default:
        settings = settings_for(
            store_of(tmp_path), default_registry=default.host, allow=listed, plain_http=True, pull_key=KEY
        )
        with Gateway(settings) as gateway:
            assert gateway.send("GET", f"/v2/{host}/{NAME}/manifests/latest").status == 404
            assert gateway.send("GET", f"/v2/{place.registry.host}/{NAME}/manifests/latest").status == 404
        assert [seen.path for seen in default.requests] == [f"/v2/{host}/{NAME}/manifests/latest"]


def test_a_default_registry_that_may_not_be_reached_is_not(tmp_path: Path) -> None:
    # A name of the operator's may lead anywhere; here it is Ollama's, and the list has another.
    settings = settings_for(store_of(tmp_path), allow=("allowed.test",), pull_key=KEY)
    with Gateway(settings) as gateway:
        assert gateway.send("GET", MANIFEST).status == 403
        assert gateway.send("GET", "/v2/").status == 403


def test_pulls_can_be_switched_off(tmp_path: Path) -> None:
    with pulling(tmp_path, pull=False) as place:
        assert {place.get(path).status for path in ("/v2/", MANIFEST, BLOB_PATH)} == {404}


# --- logins


def test_the_login_of_a_client_is_used_instead_of_the_gateways(tmp_path: Path) -> None:
    with pulling(tmp_path, auth=BasicAuth({**_USERS, "bob": "b0b"}), credential=ME) as place:
        assert place.get("/v2/", headers=as_basic(ME)).status == 200
        assert place.get(MANIFEST, headers=as_basic(Login("bob", "b0b"))).status == 200
        assert place.get(BLOB_PATH, headers=as_basic(Login("bob", "b0b"))).body == BLOB
        for path in ("/v2/", MANIFEST, BLOB_PATH):
            found = place.get(path, headers=as_basic(Login("bob", "wr0ng")))
            assert found.status == 401
            assert found.headers["www-authenticate"] == 'Basic realm="ollama-push"'
            assert b"wr0ng" not in found.body
        # And a wrong one does not stay.
        assert place.get(MANIFEST, headers=as_basic(Login("bob", "b0b"))).status == 200


def test_a_login_that_cannot_be_read_is_told(place: Pulling) -> None:
    assert place.get(MANIFEST, headers={"Authorization": "Basic !!"}).status == 400


def test_without_any_login_the_client_is_asked_for_one(tmp_path: Path) -> None:
    with pulling(tmp_path, auth=BasicAuth(_USERS)) as place:
        for path in ("/v2/", MANIFEST, BLOB_PATH):
            found = place.get(path)
            assert found.status == 401
            assert found.headers["www-authenticate"] == 'Basic realm="ollama-push"'
        message = json.loads(place.get(MANIFEST).body)["errors"][0]["message"]
        assert "send a user name and a password" in message
        place.registry.stop()
        assert place.get("/v2/").status == 200
        assert place.get(MANIFEST).status == 502


def test_the_token_of_the_gateway_guards_pulls(tmp_path: Path) -> None:
    with pulling(tmp_path, auth=BasicAuth(_USERS), credential=ME, token="t0ken") as place:
        assert place.get(MANIFEST).headers["www-authenticate"] == 'Basic realm="ollama-push"'
        for headers in (as_basic(Login("anybody", "t0ken")), {"Authorization": "Bearer t0ken"}):
            assert place.get("/v2/", headers=headers).status == 200
            assert place.get(MANIFEST, headers=headers).body == place.manifest
            assert place.get(BLOB_PATH, headers=headers).body == BLOB
        for headers in ({}, as_basic(ME), {"Authorization": "Bearer other"}):
            assert place.get(BLOB_PATH, headers=headers).status == 401


def test_pulls_speak_plain_http_only_where_the_operator_says_so(tmp_path: Path) -> None:
    with pulling(tmp_path, auth=BasicAuth(_USERS), credential=ME, plain_http=False) as place:
        asked = len(place.registry.requests)
        found = place.get(MANIFEST, headers=as_basic(ME))
        assert found.status == 502
        assert "does not speak TLS" in json.loads(found.body)["errors"][0]["message"]
        assert len(place.registry.requests) == asked


# --- the other name


@pytest.mark.parametrize(
    ("public", "loopback", "host", "location"),
    [
        (None, True, "127.0.0.1:1", "http://localhost:1/"),
        (None, True, "localhost", "http://127.0.0.1/"),
        (None, True, "[::1]:1", "http://localhost:1/"),
        ("direct.test", False, "gateway.test:81", "http://direct.test:81/"),
        ("direct.test:82", False, "gateway.test:81", "http://direct.test:82/"),
        ("https://direct.test", False, "gateway.test:81", "https://direct.test/"),
        ("direct.test", True, "direct.test:81", "http://localhost:81/"),
    ],
)
def test_the_address_has_another_host_name(
    place: Pulling, tmp_path: Path, public: str | None, host: str, location: str, *, loopback: bool
) -> None:
    settings = settings_for(
        store_of(tmp_path),
        default_registry=place.registry.host,
        allow=(),
        plain_http=True,
        pull_key=KEY,
        public_host=public,
        loopback=loopback,
        credentials=_Given(),
    )
    with Gateway(settings) as gateway:
        found = gateway.send("GET", BLOB_PATH, headers={"Host": host})
    assert found.status == 307
    assert found.headers["location"].startswith(f"{location}direct/{NAME}/blobs/{DIGEST}?expires=")


class _Given:
    def find(self, _host: str, /) -> Login:
        return ME


@pytest.mark.parametrize(
    ("public", "host"), [(None, "gateway.test"), ("gateway.test", "gateway.test"), ("x.test", "a:b")]
)
def test_without_another_name_a_blob_is_sent_at_once(
    place: Pulling, tmp_path: Path, public: str | None, host: str
) -> None:
    settings = settings_for(
        store_of(tmp_path),
        default_registry=place.registry.host,
        plain_http=True,
        pull_key=KEY,
        public_host=public,
        loopback=False,
        credentials=_Given(),
    )
    with Gateway(settings) as gateway:
        found = gateway.send("GET", BLOB_PATH, headers={"Host": host})
    assert (found.status, found.body) == (200, BLOB)
