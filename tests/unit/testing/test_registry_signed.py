"""Signed URLs of the embedded registry: what they take, what they refuse, and what a commit makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import urllib3
from tests.support.blobs import digest_of
from tests.support.registry_client import REPOSITORY, RawClient

from ollama_push.testing.registry import EmbeddedRegistry, Quirks

DATA = b"hello world"
DIGEST = digest_of(DATA)
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
ASKS = {"X-Redirect-Uploads": "1"}
WHOLE = {"X-Redirect-Uploads": "2", "X-Content-Length": str(len(DATA))}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    quirks = Quirks(redirect_uploads=True, direct_uploads=True)
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks) as found:
        yield found


@pytest.fixture
def peer(registry: EmbeddedRegistry) -> Iterator[RawClient]:
    with ExitStack() as stack:
        yield stack.enter_context(RawClient(registry))


def announced(peer: RawClient, where: str, first: int, data: bytes) -> tuple[str, str]:
    """Announce a part; return its signed URL, and the session of the next one."""
    headers = {**ASKS, "Content-Range": f"{first}-{first + len(data) - 1}"}
    given = peer.send("PATCH", where, data, headers)
    assert given.status == 307
    return given.headers["Location"], given.headers["Docker-Upload-Location"]


def committed(peer: RawClient, where: str, *parts: bytes, digest: str = DIGEST) -> urllib3.BaseHTTPResponse:
    joined = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    etag = f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"
    return peer.send("PUT", f"{where}&digest={digest}&etag={etag}", b"")


def test_parts_may_come_in_any_order_and_the_etag_proves_them(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.send("POST", UPLOADS).headers["Docker-Upload-Location"]
    first, where = announced(peer, where, 0, DATA[:6])
    second, where = announced(peer, where, 6, DATA[6:])
    for url, data in ((second, DATA[6:]), (first, DATA[:6])):
        given = peer.send("PUT", url, data)
        assert given.status == 200
        assert given.headers["ETag"] == f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    assert committed(peer, where, DATA).status == 400, "the etag of another number of parts"
    assert committed(peer, where, DATA[:6], DATA[6:]).status == 201
    assert registry.blob(DIGEST) == DATA
    assert registry.sessions() == []


def test_a_commit_without_all_parts_or_with_another_digest_is_refused(peer: RawClient) -> None:
    where = peer.send("POST", UPLOADS).headers["Docker-Upload-Location"]
    url, where = announced(peer, where, 6, DATA[6:])
    assert peer.send("PUT", url, DATA[6:]).status == 200
    assert committed(peer, where, DATA[6:]).status == 400, "the first part was never announced"
    url, where = announced(peer, where, 0, DATA[:6])
    assert committed(peer, where, DATA[:6], DATA[6:]).status == 400, "the first part was never sent"
    assert peer.send("PUT", url, b"jello ").status == 200
    assert committed(peer, where, b"jello ", DATA[6:]).status == 400, "DIGEST_INVALID"


def test_a_part_that_does_not_ask_is_taken_as_by_any_registry(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.send("POST", UPLOADS).headers["Docker-Upload-Location"]
    given = peer.send("PATCH", where, DATA)
    assert given.status == 202
    assert peer.send("PUT", f"{given.headers['Location']}&digest={DIGEST}", b"").status == 201
    assert registry.blob(DIGEST) == DATA


@pytest.mark.parametrize("announced_as", ["", "7-3", "bytes 0-1", "x"])
def test_a_part_must_say_where_it_is(peer: RawClient, announced_as: str) -> None:
    where = peer.send("POST", UPLOADS).headers["Docker-Upload-Location"]
    assert peer.send("PATCH", where, DATA, {**ASKS, "Content-Range": announced_as}).status == 416


def test_a_signed_url_takes_what_was_signed_and_no_login(peer: RawClient) -> None:
    where = peer.send("POST", UPLOADS).headers["Docker-Upload-Location"]
    url, _ = announced(peer, where, 0, DATA)
    assert peer.send("PUT", url.replace("sig=", "sig=0"), DATA).status == 403
    assert peer.send("PUT", url.replace("/0?", "/1?"), DATA).status == 403, "the signature of another part"
    assert peer.send("PUT", url, DATA, {"Authorization": "Bearer x"}).status == 400
    assert peer.send("PUT", url, DATA[:5]).status == 400
    assert peer.send("GET", url).status == 405
    assert peer.send("DELETE", where).status == 204
    assert peer.send("PUT", url, DATA).status == 404


def test_a_whole_blob_needs_the_header_that_was_signed(registry: EmbeddedRegistry, peer: RawClient) -> None:
    opened = peer.send("POST", f"{UPLOADS}?digest={DIGEST}", headers=WHOLE)
    url, where = opened.headers["X-Direct-Upload-URL"], opened.headers["Location"]
    signed = {"X-Amz-Meta-Digest": opened.headers["X-Signed-Header-X-Amz-Meta-Digest"]}
    assert peer.send("PUT", url, DATA).status == 403
    assert peer.send("PUT", url, DATA, signed).status == 200
    assert peer.send("PUT", f"{where}&digest={DIGEST}", b"").status == 201
    assert registry.blob(DIGEST) == DATA
    assert peer.send("POST", f"{UPLOADS}?digest={DIGEST}", headers=WHOLE).status == 201, "it has the blob already"


@pytest.mark.parametrize("headers", [{}, {"X-Redirect-Uploads": "2"}, {**WHOLE, "X-Redirect-Uploads": "1"}])
def test_a_whole_blob_is_offered_to_who_asks_for_it(peer: RawClient, headers: dict[str, str]) -> None:
    assert "X-Direct-Upload-URL" not in peer.send("POST", UPLOADS, headers=headers).headers


def test_what_was_signed_before_a_restart_is_void(registry: EmbeddedRegistry, peer: RawClient) -> None:
    where = peer.send("POST", UPLOADS).headers["Docker-Upload-Location"]
    url, where = announced(peer, where, 0, DATA)
    registry.restart()
    assert peer.send("PUT", url, DATA).status == 403
