"""The embedded registry gives back what it holds, lists it, deletes it, and nothing else."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme
import urllib3
from aiohttp import web
from tests.support.blobs import digest_of
from tests.support.registry_client import MANIFEST, PATIENCE, REPOSITORY, RawClient, codes, manifest_of

from ollama_push.testing.registry import EmbeddedRegistry, Seen, registry_app

_INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(tmp_path / "data") as registry:
        yield registry


@pytest.fixture
def peer(registry: EmbeddedRegistry) -> Iterator[RawClient]:
    with RawClient(registry) as peer:
        yield peer


@pytest.mark.parametrize(
    ("wanted", "status", "given"),
    [
        ("bytes=2-4", 206, b"cde"),
        ("bytes=5-", 206, b"fghij"),
        ("bytes=-3", 206, b"hij"),
        ("bytes=8-99", 206, b"ij"),
        ("bytes=50-60", 416, b""),
    ],
)
def test_a_blob_is_given_in_ranges(peer: RawClient, wanted: str, status: int, given: bytes) -> None:
    digest = peer.push(b"abcdefghij")
    response = peer.send("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": wanted})
    assert (response.status, response.data if status == 206 else b"") == (status, given)


def test_the_status_of_a_range_is_recorded_as_answered(registry: EmbeddedRegistry, peer: RawClient) -> None:
    digest = peer.push(b"abc")
    peer.send("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": "bytes=0-0"})
    assert registry.requests[-1] == Seen("GET", f"/v2/{REPOSITORY}/blobs/{digest}", 206)


def test_what_is_absent_is_unknown(registry: EmbeddedRegistry, peer: RawClient) -> None:
    absent = digest_of(b"absent")
    assert codes(peer.send("GET", f"/v2/{REPOSITORY}/blobs/{absent}")) == ["BLOB_UNKNOWN"]
    assert codes(peer.send("GET", f"/v2/{REPOSITORY}/manifests/v1")) == ["MANIFEST_UNKNOWN"]
    assert codes(peer.send("GET", f"/v2/{REPOSITORY}/manifests/.v1")) == ["MANIFEST_UNKNOWN"]
    assert codes(peer.send("GET", f"/v2/{REPOSITORY}/tags/list")) == ["NAME_UNKNOWN"]
    assert registry.blob(absent) is None
    with pytest.raises(ValueError, match="no sha256 digest"):
        registry.blob_path("../../etc/passwd")


def test_the_root_says_that_a_registry_is_here(peer: RawClient) -> None:
    assert peer.send("GET", "/v2/").status == 200
    assert peer.send("POST", "/v2/").status == 405


@pytest.mark.parametrize("name", ["MyUser/my-llama", "_x/y", "a//b", "a/-b", "a" * 256])
def test_a_name_outside_the_grammar_is_a_page_not_found(peer: RawClient, name: str) -> None:
    response = peer.send("POST", f"/v2/{name}/blobs/uploads/")
    assert (response.status, response.data) == (404, b"404 page not found\n")


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/x", "/v2/a/b/blobs/x/y"])
def test_other_paths_are_a_page_not_found(peer: RawClient, path: str) -> None:
    assert peer.send("GET", path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v2/a/../b/tags/list",
        "/v2/%2e%2e/x/tags/list",
        "/v2/a/%2e%2e%2fb/blobs/uploads/x",
        "/v2/../../etc/passwd",
        "/v2/a/b/blobs/uploads/../../../c",
        "/v2/a/b/manifests/..",
        "/v2/a/b/manifests/%2e%2e%2fx",
        "/content/..",
    ],
)
def test_no_path_leads_out_of_the_data(registry: EmbeddedRegistry, path: str) -> None:
    # urllib3 would tidy such a path up before it is sent.
    host, _, port = registry.host.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    with closing(connection):
        connection.request("GET", path)
        assert connection.getresponse().status in (403, 404)


def test_tags_come_in_pages_with_links(peer: RawClient) -> None:
    peer.push(b"{}")
    for tag in ("c", "a", "B", "d"):
        peer.put_manifest(manifest_of(b"{}"), tag)
    where = f"/v2/{REPOSITORY}/tags/list"
    assert peer.send("GET", where).json() == {"name": REPOSITORY, "tags": ["B", "a", "c", "d"]}
    pages = []
    link = f"{where}?n=3"
    while link:
        response = peer.send("GET", link)
        pages.append(response.json()["tags"])
        link = response.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert pages == [["B", "a", "c"], ["d"]]
    assert peer.send("GET", f"{where}?last=a").json()["tags"] == ["c", "d"]
    assert peer.send("GET", f"{where}?n=0").json()["tags"] == []
    assert codes(peer.send("GET", f"{where}?n=x")) == ["PAGINATION_NUMBER_INVALID"]


def test_referrers_are_listed_with_their_type_and_filtered(peer: RawClient) -> None:
    peer.push(b"{}")
    subject = manifest_of(b"{}")
    peer.put_manifest(subject)
    about = {"digest": digest_of(subject), "mediaType": MANIFEST, "size": len(subject)}
    first = manifest_of(b"{}", subject=about, artifactType="a/a", annotations={"k": "v"})
    second = manifest_of(b"{}", subject=about)
    assert peer.put_manifest(first, digest_of(first)).headers["OCI-Subject"] == digest_of(subject)
    peer.put_manifest(second, digest_of(second))
    where = f"/v2/{REPOSITORY}/referrers/{digest_of(subject)}"
    everything = peer.send("GET", where)
    assert everything.headers["Content-Type"] == _INDEX
    found = {each["digest"]: each for each in everything.json()["manifests"]}
    assert found[digest_of(first)] == {
        "mediaType": MANIFEST,
        "digest": digest_of(first),
        "size": len(first),
        "artifactType": "a/a",
        "annotations": {"k": "v"},
    }
    assert found[digest_of(second)]["artifactType"] == "x/y"
    filtered = peer.send("GET", f"{where}?artifactType=a/a")
    assert [each["digest"] for each in filtered.json()["manifests"]] == [digest_of(first)]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"


def test_nothing_referring_is_an_empty_index(peer: RawClient) -> None:
    response = peer.send("GET", f"/v2/{REPOSITORY}/referrers/{digest_of(b'x')}")
    assert response.json() == {"schemaVersion": 2, "mediaType": _INDEX, "manifests": []}


def test_a_deleted_tag_leaves_the_manifest_and_a_deleted_manifest_takes_its_tags(peer: RawClient) -> None:
    peer.push(b"{}")
    raw = manifest_of(b"{}")
    for tag in ("v1", "v2"):
        peer.put_manifest(raw, tag)
    manifests = f"/v2/{REPOSITORY}/manifests"
    assert peer.send("DELETE", f"{manifests}/v1").status == 202
    assert peer.send("GET", f"{manifests}/v1").status == 404
    assert peer.send("GET", f"{manifests}/v2").status == 200
    assert peer.send("DELETE", f"{manifests}/{digest_of(raw)}").status == 202
    assert peer.send("GET", f"{manifests}/v2").status == 404
    assert peer.send("DELETE", f"{manifests}/v2").status == 404


def test_a_deleted_blob_is_gone_from_its_repository_only(peer: RawClient) -> None:
    digest = peer.push(b"abc")
    peer.push(b"abc", "other/one")
    assert peer.send("DELETE", f"/v2/{REPOSITORY}/blobs/{digest}").status == 202
    assert peer.send("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
    assert peer.send("DELETE", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
    assert peer.send("HEAD", f"/v2/other/one/blobs/{digest}").status == 200


def test_it_serves_tls(tmp_path: Path, tls: tuple[trustme.CA, trustme.LeafCert]) -> None:
    authority, leaf = tls
    context = _server_context(leaf)
    trusting = urllib3.util.create_urllib3_context()
    authority.configure_trust(trusting)
    with EmbeddedRegistry(tmp_path, tls=context) as registry, RawClient(registry, tls=trusting) as peer:
        assert registry.url.startswith("https://127.0.0.1:")
        where = peer.start()
        assert where.startswith(registry.url)
        assert peer.commit(where, digest_of(b"abc"), b"abc").status == 201


def test_closing_twice_leaves_no_thread_and_no_listener(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    registry = EmbeddedRegistry(tmp_path)
    with RawClient(registry) as peer:
        peer.start()
        registry.start()
        registry.close()
        registry.close()
        assert set(threading.enumerate()) <= before
        with pytest.raises(urllib3.exceptions.HTTPError):
            peer.send("GET", "/v2/")


def test_an_address_in_use_is_said_at_once(tmp_path: Path, registry: EmbeddedRegistry) -> None:
    port = int(registry.host.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        EmbeddedRegistry(tmp_path / "other", listen=("127.0.0.1", port))


def test_the_application_can_be_run_by_somebody_else(tmp_path: Path) -> None:
    assert isinstance(registry_app(tmp_path), web.Application)


def _server_context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def tls() -> tuple[trustme.CA, trustme.LeafCert]:
    authority = trustme.CA()
    return authority, authority.issue_cert("127.0.0.1")
