"""Each quirk of the embedded registry does what it says, and nothing while it is off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.blobs import digest_of
from tests.support.registry_client import REPOSITORY, RawClient, codes, manifest_of, send_and_leave

from ollama_push.testing.registry import BrokenPartPolicy, EmbeddedRegistry, Quirks

Odd = Callable[..., tuple[EmbeddedRegistry, RawClient]]


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Odd]:
    with ExitStack() as stack:

        def make(**quirks: object) -> tuple[EmbeddedRegistry, RawClient]:
            registry = stack.enter_context(EmbeddedRegistry(tmp_path, quirks=Quirks(**quirks)))  # type: ignore[arg-type]  # the tests name fields
            return registry, stack.enter_context(RawClient(registry))

        yield make


def test_locations_are_absolute_unless_asked_to_be_relative(odd: Odd) -> None:
    registry, peer = odd()
    assert peer.start().startswith(f"{registry.url}/v2/{REPOSITORY}/blobs/uploads/")


def test_relative_locations_are_relative_at_every_step(odd: Odd) -> None:
    _, peer = odd(relative_location=True)
    where = peer.start()
    patched = peer.patch(where, b"abc").headers["Location"]
    done = peer.commit(patched, digest_of(b"abc")).headers["Location"]
    assert [each.startswith("/v2/") for each in (where, patched, done)] == [True, True, True]


def test_sessions_can_point_to_another_origin(odd: Odd) -> None:
    _, peer = odd(foreign_location="http://elsewhere.example:81")
    assert peer.start().startswith(f"http://elsewhere.example:81/v2/{REPOSITORY}/blobs/uploads/")


def test_a_registry_without_status_answers_400(odd: Odd) -> None:
    _, peer = odd(no_status=True)
    assert peer.send("GET", peer.start()).status == 400


def test_a_202_can_lack_its_range(odd: Odd) -> None:
    _, peer = odd(no_range_in_202=True)
    response = peer.patch(peer.start(), b"abc")
    assert (response.status, "Range" in response.headers) == (202, False)


def test_a_416_can_have_its_headers(odd: Odd) -> None:
    _, peer = odd(range_416_without_headers=False)
    where = peer.start()
    peer.patch(where, b"abc")
    response = peer.patch(where, b"x", 9)
    assert (response.status, response.headers["Range"]) == (416, "0-2")
    assert peer.patch(response.headers["Location"], b"d", 3).status == 202


def test_monolithic_only_takes_a_put_and_no_patch(odd: Odd) -> None:
    _, peer = odd(monolithic_only=True)
    response = peer.patch(peer.start(), b"abc")
    assert (response.status, codes(response)) == (405, ["UNSUPPORTED"])
    peer.push(b"abc")


def test_a_part_after_one_below_the_minimum_is_refused(odd: Odd) -> None:
    _, peer = odd(min_part_bytes=4)
    opened = peer.send("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    assert opened.headers["OCI-Chunk-Min-Length"] == "4"
    where = opened.headers["Location"]
    assert [peer.patch(where, part).status for part in (b"abcd", b"efg", b"hijk")] == [202, 202, 416]


def test_the_last_part_may_be_below_the_minimum(odd: Odd) -> None:
    _, peer = odd(min_part_bytes=4)
    where = peer.start()
    assert [peer.patch(where, part).status for part in (b"abcd", b"efg")] == [202, 202]
    assert peer.commit(where, digest_of(b"abcdefg")).status == 201


def test_a_broken_part_is_not_held_against_the_minimum(odd: Odd) -> None:
    registry, peer = odd(min_part_bytes=4)
    where = peer.start()
    send_and_leave(registry, where, 100, b"ab")
    assert peer.patch(where, b"cdef", 2).status == 202


@pytest.mark.parametrize("body", [b"x" * 11, iter([b"x" * 6, b"x" * 5])], ids=["sized", "chunked"])
def test_a_body_above_the_maximum_is_413_and_the_connection_closed(odd: Odd, body: bytes | Iterator[bytes]) -> None:
    _, peer = odd(max_part_bytes=10)
    where = peer.start()
    response = peer.send("PATCH", where, body)
    assert (response.status, response.headers["Connection"]) == (413, "close")


def test_a_body_of_the_maximum_passes(odd: Odd) -> None:
    _, peer = odd(max_part_bytes=10)
    assert peer.patch(peer.start(), b"x" * 10).status == 202


def test_the_413_of_a_sized_body_comes_before_it_is_read(odd: Odd) -> None:
    registry, peer = odd(max_part_bytes=10)
    where = peer.start()
    assert peer.send("PATCH", where, b"x" * 5_000_000).status == 413
    assert registry.requests[-1].body_bytes == 0
    assert peer.send("GET", where).headers["Range"] == "0-0"


def test_the_part_that_completes_a_listed_blob_answers_201(odd: Odd) -> None:
    registry, peer = odd(early_201={digest_of(b"abcdef")})
    where = peer.start()
    assert peer.patch(where, b"abc").status == 202
    done = peer.patch(where, b"def")
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest_of(b"abcdef"))
    assert registry.blob(digest_of(b"abcdef")) == b"abcdef"
    assert peer.commit(where, digest_of(b"abcdef")).status == 404


def test_a_redirected_blob_needs_the_signature_of_its_url(odd: Odd) -> None:
    registry, peer = odd(redirect_blobs=True)
    digest = peer.push(b"abc")
    response = peer.send("GET", f"/v2/{REPOSITORY}/blobs/{digest}")
    assert response.status == 307
    location = response.headers["Location"]
    assert peer.send("GET", location).data == b"abc"
    assert peer.send("GET", location[:-1]).status == 403
    assert peer.send("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 200
    assert location.partition("sig=")[2] not in repr(registry.requests)


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1:5", "localhost:5"), ("localhost", "127.0.0.1")])
def test_a_redirect_leads_to_the_other_name_of_the_loopback(odd: Odd, host: str, other: str) -> None:
    _, peer = odd(redirect_to_other_name=True)
    digest = peer.push(b"abc")
    response = peer.send("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Host": host})
    assert response.status == 307
    assert response.headers["Location"].startswith(f"http://{other}/content/{digest}?sig=")
    elsewhere = peer.send("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Host": "registry.test"})
    assert (elsewhere.status, elsewhere.data) == (200, b"abc")


def test_a_lie_shows_a_blob_that_is_not_there(odd: Odd) -> None:
    absent = digest_of(b"absent")
    _, peer = odd(lies_about_blobs={absent: 6})
    response = peer.send("HEAD", f"/v2/{REPOSITORY}/blobs/{absent}")
    assert (response.status, response.headers["Content-Length"]) == (200, "6")
    assert peer.send("GET", f"/v2/{REPOSITORY}/blobs/{absent}").status == 404
    assert peer.put_manifest(manifest_of(b"absent")).status == 201


def test_a_lost_blob_is_accepted_and_not_kept(odd: Odd) -> None:
    registry, peer = odd(loses_blobs={digest_of(b"abc")})
    peer.push(b"abc")
    assert (registry.blob(digest_of(b"abc")), registry.sessions()) == (None, [])
    assert peer.send("HEAD", f"/v2/{REPOSITORY}/blobs/{digest_of(b'abc')}").status == 404
    assert peer.put_manifest(manifest_of(b"abc")).status == 201


def test_a_wrong_manifest_differs_in_bytes_and_digest(odd: Odd) -> None:
    _, peer = odd(wrong_manifest=True)
    peer.push(b"{}")
    raw = manifest_of(b"{}")
    assert peer.put_manifest(raw).headers["Docker-Content-Digest"] == digest_of(raw)
    response = peer.send("GET", f"/v2/{REPOSITORY}/manifests/v1")
    assert response.data != raw
    assert response.headers["Docker-Content-Digest"] == digest_of(response.data)


def test_names_can_be_refused_in_json(odd: Odd) -> None:
    _, peer = odd(plain_404=False)
    response = peer.send("POST", "/v2/Upper/case/blobs/uploads/")
    assert (response.status, codes(response)) == (404, ["NAME_INVALID"])


def test_every_error_can_be_text(odd: Odd) -> None:
    _, peer = odd(plain_errors=True)
    response = peer.send("GET", f"/v2/{REPOSITORY}/manifests/v1")
    assert (response.status, response.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")


def test_without_delete_only_sessions_can_be_deleted(odd: Odd) -> None:
    _, peer = odd(no_delete=True)
    digest = peer.push(b"{}")
    peer.put_manifest(manifest_of(b"{}"))
    for what in (f"blobs/{digest}", "manifests/v1"):
        assert peer.send("DELETE", f"/v2/{REPOSITORY}/{what}").status == 405
    assert peer.send("DELETE", peer.start()).status == 204


def test_a_body_that_breaks_the_limit_kills_the_session_by_that_policy(tmp_path: Path) -> None:
    quirks = Quirks(max_part_bytes=10)
    with (
        EmbeddedRegistry(tmp_path, quirks=quirks, broken_parts=BrokenPartPolicy.KILLS_SESSION) as registry,
        RawClient(registry) as peer,
    ):
        where = peer.start()
        assert peer.send("PATCH", where, b"x" * 11).status == 413  # not a byte was taken
        assert peer.send("GET", where).status == 204


def test_manifests_of_docker_s_kind_may_be_refused(odd: Odd) -> None:
    _, peer = odd(oci_manifests_only=True)
    docker, oci = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")
    for media_type, status in ((docker, 415), (oci, 201)):
        raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, "layers": []}).encode()
        where = f"/v2/{REPOSITORY}/manifests/v1"
        assert peer.send("PUT", where, raw, {"Content-Type": media_type}).status == status
