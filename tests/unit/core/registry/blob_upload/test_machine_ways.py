"""An upload to registries that count, refuse and acknowledge in ways of their own."""

from __future__ import annotations

import pytest
from tests.support.blobs import MIB
from tests.support.memory_registry import Deviations, MemoryRegistry
from tests.support.scripted_flow import ORIGIN, refuse, response, responses
from tests.support.upload_machine import DATA, DIGEST, HELD, KEY, OPENED, SIZE, SMALL, Upload, reason_of

from ollama_push.core.errors import (
    PushInterrupted,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.effects import ReportRetry
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import RetryPolicy


def test_a_416_without_headers_is_asked_about() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.method == "PATCH" and not registry.received:
            registry(request, body)
        return registry(request, body)

    upload = Upload(peer)
    assert upload.run()[1:4] == [f"PATCH 0+{MIB}", "GET", f"PATCH {MIB}+{MIB}"]
    assert registry.received == SIZE


@pytest.mark.parametrize("status", [400, 409, 416])
def test_a_session_that_does_not_move_past_what_it_refuses_is_dropped(status: int) -> None:
    stuck = response(204, {"range": "0-0", "location": "/u"})
    upload = Upload(responses(OPENED, response(status), stuck, OPENED, response(507)))
    upload.fail()
    assert upload.methods == ["POST", f"PATCH 0+{MIB}", "GET", "POST", f"PATCH 0+{MIB}"]


def test_a_registry_that_counts_otherwise_begins_anew() -> None:
    more = response(202, {"range": f"0-{SIZE}", "location": "/u"})
    upload = Upload(responses(*[OPENED, more] * 4))
    assert "counts 2500001 bytes of 1048576 sent" in str(upload.fail())
    assert upload.methods.count("POST") == 4


def test_a_registry_that_took_less_is_believed() -> None:
    less = response(202, {"range": "0-999", "location": "/u"})
    upload = Upload(responses(OPENED, less, response(507)))
    upload.fail()
    assert upload.methods[1:] == [f"PATCH 0+{MIB}", f"PATCH 1000+{MIB}"]
    assert upload.progress[:2] == [0, 1000]


@pytest.mark.parametrize("headers", [{}, {"range": "0-0"}, {"range": "x", "location": "ftp://x"}])
def test_an_accepted_part_is_a_whole_one_unless_said_otherwise(headers: dict[str, str]) -> None:
    upload = Upload(responses(OPENED, response(202, headers), response(507)))
    upload.fail()
    assert upload.methods[2] == f"PATCH {MIB}+{MIB}"
    assert upload.player.requests[2].url == f"{ORIGIN}/u", "a registry that names no place keeps the one it had"


def test_an_early_created_is_the_end() -> None:
    registry = MemoryRegistry(Deviations(created_early=frozenset({DIGEST})))
    upload = Upload(registry)
    upload.sizes.refuse_last_part()
    assert upload.run()[-2:] == [f"PATCH {2 * MIB}+{SIZE - 2 * MIB}", "HEAD"]
    assert registry.blobs[HELD] == DATA


def test_a_created_in_the_middle_is_looked_at() -> None:
    upload = Upload(responses(OPENED, response(201, {"location": "/blob"}), response(404), response(507)))
    upload.fail()
    assert upload.methods == ["POST", f"PATCH 0+{MIB}", "HEAD", f"PATCH {MIB}+{MIB}"]
    assert upload.player.requests[3].url == f"{ORIGIN}/u", "its Location is the blob's, not the session's"
    assert Upload(responses(OPENED, response(201), response(200))).run() == ["POST", f"PATCH 0+{MIB}", "HEAD"]


@pytest.mark.parametrize("no", [refuse(405, "UNSUPPORTED"), response(501), refuse(400, "UNSUPPORTED")], ids=repr)
def test_a_registry_without_parts_gets_the_whole(no: BufferedResponse) -> None:
    upload = Upload(responses(OPENED, no, OPENED, response(201)))
    assert upload.run() == ["POST", f"PATCH 0+{MIB}", "POST", f"PUT 0+{SIZE}"]
    assert upload.sizes.fits_whole(SIZE), "the next blob goes whole at once"


def test_a_registry_that_takes_less_gets_less() -> None:
    registry = MemoryRegistry(Deviations(most_bytes=600_000))
    upload = Upload(registry)
    assert upload.run()[1:4] == [f"PATCH 0+{MIB}", "GET", f"PATCH 0+{MIB // 2}"]
    assert registry.blobs[HELD] == DATA


def test_a_registry_that_takes_next_to_nothing_is_taken_at_its_word() -> None:
    assert reason_of(Upload(MemoryRegistry(Deviations(most_bytes=1000))).fail()) is RejectionReason.TOO_LARGE
    assert reason_of(Upload(MemoryRegistry(Deviations(most_bytes=4)), SMALL).fail()) is RejectionReason.TOO_LARGE


def test_a_whole_blob_that_is_too_large_goes_in_parts() -> None:
    upload = Upload(MemoryRegistry(Deviations(most_bytes=600_000)), DATA[:MIB])
    assert upload.run() == ["POST", f"PUT 0+{MIB}", "GET", f"PATCH 0+{MIB // 2}", f"PUT {MIB // 2}+{MIB // 2}"]


def test_a_registry_that_wants_it_whole_but_not_that_large_is_taken_at_its_word() -> None:
    error = Upload(MemoryRegistry(Deviations(whole_only=True, most_bytes=2_000_000))).fail()
    assert reason_of(error) is RejectionReason.TOO_LARGE


@pytest.mark.parametrize("data", [DATA, SMALL], ids=["large", "small"])
def test_a_whole_blob_that_does_not_fit_the_session_is_asked_about(data: bytes) -> None:
    upload = Upload(responses(OPENED, response(416), response(404), OPENED, response(201)), data)
    upload.sizes.refuse_parts()
    assert upload.run() == ["POST", f"PUT 0+{len(data)}", "GET", "POST", f"PUT 0+{len(data)}"]


def test_a_digest_that_is_refused_is_the_stores_fault_when_it_is() -> None:
    upload = Upload(responses(OPENED, refuse(400, "DIGEST_INVALID")), SMALL)
    upload.player.damaged.add(upload.blob.digest)
    error = upload.fail()
    assert reason_of(error) is RejectionReason.STORE_DAMAGED
    assert isinstance(error.__cause__, PushRejected)


def test_a_digest_that_is_refused_without_reason_is_sent_again() -> None:
    upload = Upload(responses(OPENED, refuse(400, "DIGEST_INVALID"), OPENED, response(201)), SMALL)
    assert upload.run() == ["POST", "PUT 0+5", "POST", "PUT 0+5"]
    never = Upload(responses(*[OPENED, refuse(400, "DIGEST_INVALID")] * 4), SMALL)
    error = never.fail()
    assert reason_of(error) is RejectionReason.DIGEST_INVALID
    assert error.attempts == 4


def test_a_full_registry_is_a_no() -> None:
    assert reason_of(Upload(responses(OPENED, response(507))).fail()) is RejectionReason.REGISTRY_FULL


def test_a_registry_that_fails_for_ever_is_a_server_error() -> None:
    upload = Upload(lambda request, _body: OPENED if request.method == "POST" else response(500))
    assert isinstance(upload.fail(), ServerError)


def test_a_registry_that_cannot_be_opened_again_is_left() -> None:
    upload = Upload(responses(OPENED, response(404), *[response(503)] * 99))
    assert isinstance(upload.fail(), ServerError)
    assert KEY not in upload.player.memory.kept


def test_a_counter_ends_at_what_the_registry_has() -> None:
    upload = Upload(responses(OPENED, response(202), response(507)))
    upload.fail()
    assert upload.progress == [0, MIB]


def test_learning_that_parts_are_not_taken_costs_no_attempt() -> None:
    registry = MemoryRegistry(Deviations(whole_only=True))
    upload = Upload(registry, retry=RetryPolicy(attempts=1))
    assert [step for step in upload.run() if step != "DELETE"] == ["POST", f"PATCH 0+{MIB}", "POST", f"PUT 0+{SIZE}"]
    assert registry.blobs[HELD] == DATA
    assert upload.player.waits == []
    assert upload.player.of(ReportRetry) == []


def test_whoever_is_stopped_while_a_session_opens_begins_no_whole_blob() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        upload.player.interrupted = request.method == "POST"
        return registry(request, body)

    upload = Upload(peer, SMALL)
    assert isinstance(upload.fail(), PushInterrupted)
    assert upload.methods == ["POST"]
    assert registry.received == 0
