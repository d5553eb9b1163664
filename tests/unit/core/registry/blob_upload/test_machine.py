"""One blob's upload against a registry in memory: opened, resumed, sent in parts, committed."""

from __future__ import annotations

import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.memory_registry import Deviations, MemoryRegistry
from tests.support.scripted_flow import ORIGIN, DictMemory, refuse, response, responses
from tests.support.upload_machine import DATA, DIGEST, HELD, KEY, OPENED, SIZE, SMALL, Upload, reason_of

from ollama_push.core.errors import (
    PushInterrupted,
    PushRejected,
    RejectionReason,
    TransportError,
)
from ollama_push.core.facts import Operation, RefusedRequest
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.effects import ForgetResumePoint, ReleaseUpload
from ollama_push.core.registry.resume import ResumePoint
from ollama_push.core.responses import BufferedResponse


def test_a_large_blob_goes_in_parts_and_is_committed() -> None:
    registry = MemoryRegistry()
    upload = Upload(registry)
    assert upload.run() == ["POST", f"PATCH 0+{MIB}", f"PATCH {MIB}+{MIB}", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]
    assert registry.blobs[HELD] == DATA
    requests = upload.player.requests
    assert [request.headers.get("Content-Range") for request in requests[1:4]] == [
        f"0-{MIB - 1}",
        f"{MIB}-{2 * MIB - 1}",
        f"{2 * MIB}-{SIZE - 1}",
    ]
    assert {request.headers["Content-Type"] for request in requests[1:]} == {"application/octet-stream"}
    assert requests[3].url == f"{ORIGIN}/v2/me/llama/blobs/uploads/s1?_state={2 * MIB}&digest={DIGEST}"
    assert upload.progress == [0, SIZE]
    assert upload.player.memory.kept == {}
    assert upload.player.of(ForgetResumePoint) == [ForgetResumePoint(KEY)]
    assert upload.player.effects[-1] == ReleaseUpload(KEY)
    assert (upload.upload.held_bytes, upload.upload.resumed_bytes, upload.upload.mounted_or_shared) == (SIZE, 0, False)


@pytest.mark.parametrize("data", [SMALL, b"", DATA[:MIB]], ids=["small", "empty", "limit"])
def test_a_small_blob_goes_in_one_request(data: bytes) -> None:
    registry = MemoryRegistry()
    assert Upload(registry, data).run() == ["POST", f"PUT 0+{len(data)}" if data else "PUT"]
    assert registry.blobs["me/llama", digest_of(data)] == data


def test_one_byte_more_goes_in_parts() -> None:
    upload = Upload(MemoryRegistry(), DATA[: MIB + 1])
    assert upload.run() == ["POST", f"PATCH 0+{MIB}", f"PUT {MIB}+1"]
    assert upload.player.requests[-1].headers["Content-Range"] == f"{MIB}-{MIB}"


@pytest.mark.parametrize("data", [SMALL, b""], ids=["small", "empty"])
def test_a_blob_that_goes_whole_is_no_part(data: bytes) -> None:
    upload = Upload(MemoryRegistry(), data)
    upload.run()
    assert "Content-Range" not in upload.player.requests[-1].headers


@pytest.mark.parametrize("part", [False, True], ids=["whole", "last part"])
def test_a_refusal_at_the_end_names_what_was_refused(*, part: bool) -> None:
    """Who is told that a blob could not be stored is to look for another cause than who could not send it."""
    data = DATA[: MIB + 1] if part else SMALL
    taken = [response(202, {"location": "/u", "range": f"0-{MIB - 1}"})] if part else []
    error = Upload(responses(OPENED, *taken, refuse(403, "DENIED")), data).fail()
    assert isinstance(error, PushRejected)
    assert isinstance(error.facts, RefusedRequest)
    assert error.facts.operation is (Operation.COMMIT_BLOB if part else Operation.SEND_BLOB)


def test_an_empty_blob_that_is_refused_was_committed() -> None:
    error = Upload(responses(OPENED, refuse(403, "DENIED")), b"").fail()
    assert isinstance(error, PushRejected)
    assert isinstance(error.facts, RefusedRequest)
    assert error.facts.operation is Operation.COMMIT_BLOB


def test_a_session_is_kept_as_soon_as_it_is_open() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.method != "POST":
            kept.append(upload.player.memory.kept[KEY])
        return registry(request, body)

    kept: list[ResumePoint] = []
    upload = Upload(peer)
    assert upload.run().count("POST") == 1
    assert kept[0] == ResumePoint(f"{ORIGIN}/v2/me/llama/blobs/uploads/s1?_state=0")


def test_beginning_without_permission_sends_nothing() -> None:
    upload = Upload(responses(refuse(403, "DENIED")))
    assert reason_of(upload.fail()) is RejectionReason.UNAUTHORIZED
    assert upload.methods == ["POST"]


def test_a_push_that_is_to_stop_begins_nothing() -> None:
    upload = Upload(MemoryRegistry())
    upload.player.interrupted = True
    assert isinstance(upload.fail(), PushInterrupted)
    assert upload.methods == []
    assert upload.player.of(ReleaseUpload) == [], "what was never claimed may be another push's"


def test_a_stop_comes_between_parts_and_the_session_is_kept() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        upload.player.interrupted = request.method == "PATCH"
        return registry(request, body)

    upload = Upload(peer)
    assert isinstance(upload.fail(), PushInterrupted)
    assert upload.methods == ["POST", f"PATCH 0+{MIB}", "GET"], "what is said to be kept was asked for"
    assert (upload.upload.held_bytes, upload.upload.lost_bytes) == (MIB, 0)
    again = Upload(registry, memory=upload.player.memory)
    assert again.run() == ["GET", f"PATCH {MIB}+{MIB}", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]
    assert again.upload.resumed_bytes == MIB
    assert again.progress[0] == MIB
    assert registry.blobs[HELD] == DATA


@pytest.mark.parametrize("kept", [0, SIZE + 1])
def test_a_session_that_is_no_better_than_a_new_one_is_dropped(kept: int) -> None:
    registry = MemoryRegistry()
    registry.sessions["old"] = bytearray(kept)
    memory = DictMemory({KEY: ResumePoint(f"{ORIGIN}/v2/me/llama/blobs/uploads/old", 5)})
    upload = Upload(registry, memory=memory)
    assert upload.run()[:3] == ["GET", "POST", f"PATCH 0+{MIB}"]
    assert upload.upload.resumed_bytes == 0


@pytest.mark.parametrize("ways", [Deviations(has_status=False), Deviations()], ids=["no status", "session gone"])
def test_a_session_nobody_knows_is_begun_anew(ways: Deviations) -> None:
    memory = DictMemory({KEY: ResumePoint(f"{ORIGIN}/v2/me/llama/blobs/uploads/old", 5)})
    assert Upload(MemoryRegistry(ways), memory=memory).run()[:2] == ["GET", "POST"]


def test_a_session_of_one_byte_that_was_known_to_have_one_goes_on() -> None:
    registry = MemoryRegistry()
    registry.sessions["old"] = bytearray(DATA[:1])
    memory = DictMemory({KEY: ResumePoint(f"{ORIGIN}/v2/me/llama/blobs/uploads/old", 1)})
    assert Upload(registry, memory=memory).run()[:2] == ["GET", f"PATCH 1+{MIB}"]
    assert registry.blobs[HELD] == DATA


def test_a_session_that_is_complete_is_only_committed() -> None:
    registry = MemoryRegistry()
    registry.sessions["old"] = bytearray(DATA)
    memory = DictMemory({KEY: ResumePoint(f"{ORIGIN}/v2/me/llama/blobs/uploads/old", 9)})
    upload = Upload(registry, memory=memory)
    assert upload.run() == ["GET", "PUT"]
    assert registry.blobs[HELD] == DATA
    assert "Content-Range" not in upload.player.requests[-1].headers, "nothing is sent that would have one"


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_session_is_resumed_where_its_status_says(status: int) -> None:
    memory = DictMemory({KEY: ResumePoint(f"{ORIGIN}/u", 5)})
    said = response(status, {"location": "/u", "range": f"0-{2 * MIB - 1}"})
    upload = Upload(responses(said, response(201)), memory=memory, part=2 * MIB)
    assert upload.run() == ["GET", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]


@pytest.mark.parametrize("status", [201, 203, 404])
def test_a_range_in_another_response_is_not_the_status_of_a_session(status: int) -> None:
    memory = DictMemory({KEY: ResumePoint(f"{ORIGIN}/u", 5)})
    said = response(status, {"location": "/u", "range": f"0-{2 * MIB - 1}"})
    upload = Upload(responses(said, refuse(403, "DENIED")), memory=memory, part=2 * MIB)
    upload.fail()
    assert upload.methods == ["GET", "POST"]


def test_a_blob_of_another_repository_is_mounted() -> None:
    registry = MemoryRegistry()
    registry.blobs["me/base", DIGEST] = DATA
    upload = Upload(registry, sources=["me/base"])
    assert upload.run() == ["POST"]
    assert upload.player.requests[0].url.endswith(f"?mount={DIGEST}&from=me/base")
    assert upload.upload.mounted_or_shared
    assert upload.upload.held_bytes == SIZE
    assert upload.progress[-1] == SIZE


def test_a_blob_that_cannot_be_mounted_is_sent() -> None:
    registry = MemoryRegistry()
    upload = Upload(registry, sources=["me/base"])
    assert upload.run()[0:2] == ["POST", f"PATCH 0+{MIB}"]
    assert not upload.upload.mounted_or_shared


@pytest.mark.parametrize("headers", [{}, {"location": ""}, {"location": "ftp://h/u"}])
def test_a_session_without_a_place_is_a_no(headers: dict[str, str]) -> None:
    error = Upload(responses(response(202, headers))).fail()
    assert reason_of(error) is RejectionReason.REGISTRY_REFUSED
    assert "without a Location" in str(error)


@pytest.mark.parametrize(
    ("minimum", "first"), [("2000000", 2_000_000), ("x", MIB), ("", MIB), ("\u0661", MIB), ("9" * 40, SIZE)]
)
def test_the_registrys_minimum_is_kept(minimum: str, first: int) -> None:
    upload = Upload(responses(response(202, {"location": "/u", "oci-chunk-min-length": minimum}), response(507)))
    upload.fail()
    assert upload.methods[1] == f"{'PUT' if first == SIZE else 'PATCH'} 0+{first}"


def test_a_blob_that_another_push_brought_meanwhile_is_not_sent() -> None:
    registry = MemoryRegistry()
    registry.blobs[HELD] = DATA
    upload = Upload(registry)
    upload.player.had_by_others.add(KEY)
    assert upload.run() == ["HEAD"]
    assert upload.upload.mounted_or_shared
    assert upload.progress[-1] == SIZE
    assert upload.player.memory.claimed == set()


def test_a_blob_that_another_push_did_not_bring_is_sent() -> None:
    upload = Upload(MemoryRegistry())
    upload.player.had_by_others.add(KEY)
    assert upload.run()[:2] == ["HEAD", "POST"]
    assert not upload.upload.mounted_or_shared


@pytest.mark.parametrize("location", ["http://[", "https://reg.test:99999/u"])
def test_a_session_whose_place_is_none_is_begun_anew(location: str) -> None:
    memory = DictMemory({KEY: ResumePoint(location, 5)})
    assert Upload(MemoryRegistry(), memory=memory).run()[0] == "POST"


def test_an_offer_of_another_place_is_not_taken_where_none_was_asked_for() -> None:
    opened = response(202, {"location": "/u", "x-direct-upload-url": "https://storage.test/x"})
    upload = Upload(responses(opened, response(201)), SMALL)
    upload.redirects.whole = False
    upload.run()
    assert upload.player.requests[-1].url.startswith(ORIGIN)


@pytest.mark.parametrize("said", [MIB, 2 * MIB], ids=["the first part again", "all of it"])
def test_a_count_that_stays_where_it_was_is_not_believed(said: int) -> None:
    """Some registries count the last part alone. The part was accepted, and the digest of the whole is the proof."""
    kept = DictMemory({KEY: ResumePoint(f"{ORIGIN}/u", MIB)})
    at = response(204, {"location": "/u", "range": f"0-{MIB - 1}"})
    taken = response(202, {"location": "/u", "range": f"0-{said - 1}"})
    upload = Upload(responses(at, taken, response(201)), memory=kept)
    assert upload.run() == ["GET", f"PATCH {MIB}+{MIB}", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]
