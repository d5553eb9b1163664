"""The embedded registry takes blobs and manifests as the distribution spec says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.blobs import digest_of
from tests.support.registry_client import OCTETS, REPOSITORY, RawClient, codes, manifest_of, send_and_leave

from ollama_push.testing.registry import BrokenPartPolicy, EmbeddedRegistry, OpenSession

_UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(tmp_path / "data") as registry:
        yield registry


@pytest.fixture
def peer(registry: EmbeddedRegistry) -> Iterator[RawClient]:
    with RawClient(registry) as peer:
        yield peer


def test_a_session_grows_by_parts_and_becomes_a_blob(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.start()
    first = peer.patch(where, b"abc", 0)
    second = peer.patch(first.headers["Location"], b"de", 3)
    assert (first.status, first.headers["Range"]) == (202, "0-2")
    assert (second.status, second.headers["Range"]) == (202, "0-4")
    done = peer.commit(second.headers["Location"], digest_of(b"abcdefg"), b"fg")
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest_of(b"abcdefg"))
    assert registry.blob(digest_of(b"abcdefg")) == b"abcdefg"
    assert peer.send("GET", done.headers["Location"]).data == b"abcdefg"
    assert registry.sessions() == []
    assert registry.received_bytes == 7


def test_a_chunked_body_without_a_range_is_appended(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.start()
    assert peer.send("PATCH", where, iter([b"abc", b"de"]), {"Content-Type": OCTETS}).headers["Range"] == "0-4"
    assert peer.commit(where, digest_of(b"abcde")).status == 201


@pytest.mark.parametrize(("held", "shown"), [(b"", "0-0"), (b"a", "0-0"), (b"ab", "0-1")])
def test_the_status_of_an_empty_session_looks_like_that_of_one_byte(peer: RawClient, held: bytes, shown: str) -> None:
    where = peer.start()
    if held:
        peer.patch(where, held)
    response = peer.send("GET", where)
    assert (response.status, response.headers["Range"]) == (204, shown)
    assert response.headers["Docker-Upload-UUID"] in response.headers["Location"]


@pytest.mark.parametrize("content_range", ["4-5", "0-1", "2-3", "bytes 3-4", "x"])
def test_a_part_that_does_not_start_at_the_end_is_refused_without_headers(peer: RawClient, content_range: str) -> None:
    where = peer.start()
    peer.patch(where, b"abc", 0)
    response = peer.send("PATCH", where, b"de", {"Content-Range": content_range})
    assert (response.status, codes(response)) == (416, ["BLOB_UPLOAD_INVALID"])
    assert not {"Range", "Location"} & set(response.headers)
    assert peer.send("GET", where).headers["Range"] == "0-2"


def test_a_range_that_is_not_as_long_as_the_body_is_refused(peer: RawClient) -> None:
    response = peer.send("PATCH", peer.start(), b"abc", {"Content-Range": "0-9"})
    assert (response.status, codes(response)) == (400, ["SIZE_INVALID"])


def test_a_wrong_digest_leaves_the_session_open(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.start()
    peer.patch(where, b"abc")
    refused = peer.commit(where, digest_of(b"other"))
    assert (refused.status, codes(refused)) == (400, ["DIGEST_INVALID"])
    assert [session.size for session in registry.sessions()] == [3]
    assert peer.commit(where, digest_of(b"abc")).status == 201


@pytest.mark.parametrize("digest", ["", "sha256:abc", f"sha512:{'a' * 128}", f"sha256:{'A' * 64}", "../../x"])
def test_only_lower_case_sha256_is_a_digest(peer: RawClient, digest: str) -> None:
    assert codes(peer.commit(peer.start(), digest)) == ["DIGEST_INVALID"]
    assert codes(peer.send("GET", f"/v2/{REPOSITORY}/blobs/sha512:{'a' * 128}")) == ["DIGEST_INVALID"]


def test_a_post_with_digest_and_body_is_a_whole_upload(registry: EmbeddedRegistry, peer: RawClient) -> None:
    assert peer.send("POST", f"{_UPLOADS}?digest={digest_of(b'abc')}", b"abc").status == 201
    refused = peer.send("POST", f"{_UPLOADS}?digest={digest_of(b'abc')}", b"abd")
    assert (refused.status, codes(refused)) == (400, ["DIGEST_INVALID"])
    assert (registry.blob(digest_of(b"abc")), registry.sessions()) == (b"abc", [])


def test_a_post_with_digest_but_no_body_opens_a_session(registry: EmbeddedRegistry, peer: RawClient) -> None:
    assert peer.send("POST", f"{_UPLOADS}?digest={digest_of(b'abc')}").status == 202
    assert len(registry.sessions()) == 1
    assert peer.send("POST", f"{_UPLOADS}?digest={digest_of(b'')}").status == 201


def test_a_blob_is_mounted_from_where_it_is_and_only_from_there(peer: RawClient) -> None:
    digest = peer.push(b"abc", "other/one")
    assert peer.send("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
    assert peer.send("POST", f"{_UPLOADS}?mount=sha512:x&from=other/one").status == 202
    assert peer.send("POST", f"{_UPLOADS}?mount={digest}&from=empty/two").status == 202
    assert peer.send("POST", f"{_UPLOADS}?mount={digest}&from=../other/one").status == 202
    assert peer.send("POST", f"{_UPLOADS}?mount={digest}&from=other/one").status == 201
    assert peer.send("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").headers["Content-Length"] == "3"


def test_a_blob_is_mounted_from_anywhere_when_no_source_is_named(peer: RawClient) -> None:
    digest = peer.push(b"abc", "other/one")
    assert peer.send("POST", f"{_UPLOADS}?mount={digest}").status == 201
    assert peer.send("POST", f"{_UPLOADS}?mount={digest_of(b'absent')}").status == 202


def test_a_cancelled_session_is_gone_with_its_bytes(
    registry: EmbeddedRegistry, peer: RawClient, tmp_path: Path
) -> None:
    where = peer.start()
    peer.patch(where, b"abc")
    assert peer.send("DELETE", where).status == 204
    response = peer.patch(where, b"d")
    assert (response.status, codes(response)) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert list((tmp_path / "data" / "uploads").iterdir()) == []


def test_a_session_belongs_to_its_repository(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.start()
    assert peer.send("GET", where.replace(REPOSITORY, "other/one")).status == 404


def test_a_broken_part_stays_where_broken_parts_are_kept(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.start()
    peer.patch(where, b"ab", 0)
    send_and_leave(registry, where, 100, b"cdefg")
    assert peer.send("GET", where).headers["Range"] == "0-6"
    assert peer.patch(where, b"hi", 7).status == 202
    assert peer.commit(where, digest_of(b"abcdefghi")).status == 201


def test_a_broken_part_kills_the_session_by_the_other_policy(tmp_path: Path) -> None:
    with (
        EmbeddedRegistry(tmp_path, broken_parts=BrokenPartPolicy.KILLS_SESSION) as registry,
        RawClient(registry) as peer,
    ):
        where = peer.start()
        assert peer.patch(where, b"ab").status == 202
        assert peer.send("GET", where).status == 204
        send_and_leave(registry, where, 100, b"cdefg")
        response = peer.send("GET", where)
        assert (response.status, codes(response)) == (404, ["BLOB_UPLOAD_UNKNOWN"])
        assert registry.sessions() == []


def test_sessions_and_contents_survive_a_restart_on_the_same_port(registry: EmbeddedRegistry, peer: RawClient) -> None:
    url = registry.url
    stored, where = peer.push(b"stored"), peer.start()
    peer.patch(where, b"abc")
    peer.pool.clear()
    registry.restart()
    assert registry.url == url
    assert [(each.repository, each.size) for each in registry.sessions()] == [(REPOSITORY, 3)]
    assert peer.send("GET", where).headers["Range"] == "0-2"
    assert peer.patch(where, b"def", 3).status == 202
    assert peer.commit(where, digest_of(b"abcdef")).status == 201
    assert registry.blob(stored) == b"stored"
    assert len(registry.requests) == 7


def test_expired_sessions_are_unknown_running_or_not(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.start()
    registry.expire_sessions()
    assert peer.patch(where, b"abc").status == 404
    peer.start()
    peer.pool.clear()
    registry.stop()
    registry.expire_sessions()
    assert registry.sessions() == []


def test_a_full_disk_is_507_and_keeps_what_fitted(registry: EmbeddedRegistry, peer: RawClient, tmp_path: Path) -> None:
    where = peer.start()
    (session,) = registry.sessions()
    path = tmp_path / "data" / "uploads" / session.id
    path.unlink()
    path.symlink_to("/dev/full")
    assert peer.patch(where, b"abc").status == 507
    assert registry.sessions() == [OpenSession(REPOSITORY, session.id, 0)]


def test_a_large_body_is_stored_right(registry: EmbeddedRegistry, peer: RawClient) -> None:
    data = os.urandom(3_000_001)
    digest = peer.push(data)
    assert hashlib.sha256(registry.blob_path(digest).read_bytes()).hexdigest() == digest.removeprefix("sha256:")


def test_a_manifest_is_kept_byte_for_byte_by_tag_and_digest(registry: EmbeddedRegistry, peer: RawClient) -> None:
    config, layer = b"{}", b"layer"
    peer.push(config)
    peer.push(layer)
    raw = manifest_of(config, layer) + b"\n \n"
    done = peer.put_manifest(raw)
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest_of(raw))
    for reference in ("v1", digest_of(raw)):
        got = peer.send("GET", f"/v2/{REPOSITORY}/manifests/{reference}")
        assert (got.data, got.headers["Docker-Content-Digest"]) == (raw, digest_of(raw))
        assert got.headers["Content-Type"] == "application/vnd.docker.distribution.manifest.v2+json"
        assert registry.manifest(REPOSITORY, reference) == raw
        assert peer.send("HEAD", f"/v2/{REPOSITORY}/manifests/{reference}").headers["Content-Length"] == str(len(raw))
    assert registry.manifest(REPOSITORY, "v2") is None
    assert registry.manifest("../x", "v1") is None


def _index(*digests: str) -> bytes:
    return b'{"manifests":[%s]}' % ",".join(f'{{"digest":"{each}"}}' for each in digests).encode()


@pytest.mark.parametrize(
    ("raw", "reference", "media_type", "code"),
    [
        (manifest_of(b"absent"), "v1", None, "MANIFEST_BLOB_UNKNOWN"),
        (_index(digest_of(b"absent")), "v1", "application/vnd.oci.image.index.v1+json", "MANIFEST_BLOB_UNKNOWN"),
        (_index("sha512:x"), "v1", "application/vnd.oci.image.index.v1+json", "MANIFEST_INVALID"),
        (b"{", "v1", None, "MANIFEST_INVALID"),
        (b"[]", "v1", None, "MANIFEST_INVALID"),
        (b"[" * 100_000, "v1", None, "MANIFEST_INVALID"),
        (b'{"layers":[1]}', "v1", None, "MANIFEST_INVALID"),
        (b'{"layers":[{"digest":7}]}', "v1", None, "MANIFEST_INVALID"),
        (b'{"mediaType":7}', "v1", None, "MANIFEST_INVALID"),
        (manifest_of(b"absent"), "v1", "text/other", "MANIFEST_INVALID"),
        (b'{"layers":[]}', digest_of(b"other"), None, "DIGEST_INVALID"),
        (b'{"layers":[]}', "sha256:bad", None, "DIGEST_INVALID"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    peer: RawClient, raw: bytes, reference: str, media_type: str | None, code: str
) -> None:
    arguments = {} if media_type is None else {"media_type": media_type}
    response = peer.put_manifest(raw, reference, **arguments)
    assert (response.status, codes(response)) == (400, [code])


def test_an_empty_config_and_layers_with_urls_need_no_blob(peer: RawClient) -> None:
    layer = {"digest": digest_of(b"elsewhere"), "urls": ["https://example.com/"]}
    raw = manifest_of(b"", config={"digest": "", "size": 0}, layers=[layer])
    assert peer.put_manifest(raw).status == 201


def test_a_manifest_that_cannot_be_written_is_500_and_leaves_no_scrap(
    peer: RawClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository = tmp_path / "data" / "repositories" / REPOSITORY
    (repository / "_tags" / "v1").mkdir(parents=True)
    assert peer.put_manifest(b'{"layers":[]}').status == 500
    assert "Is a directory" in caplog.text
    assert list(repository.rglob(".new-*")) == []


def test_a_manifest_of_more_than_4_mib_is_too_large(peer: RawClient) -> None:
    assert peer.put_manifest(b" " * (4 * 1024 * 1024 + 1)).status == 413
