"""What a registry says is a hint: mounts, counts, commits behind a gateway, last parts that it does not take."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import ORIGIN, DictMemory, refuse, response, responses
from tests.support.upload_machine import DATA, DIGEST, HELD, KEY, LOST, OPENED, SIZE, SMALL, Upload, reason_of

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    RejectionReason,
    ServerError,
    TransportError,
    TransportTimeout,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.machine import BlobUpload
from ollama_push.core.registry.resume import ResumePoint
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import RetryPolicy

LATE: Final = TransportTimeout(ORIGIN, "read", 60.0)
WHOLE: Final = response(204, {"range": f"0-{len(SMALL) - 1}", "location": "/u"})
ONE_PUT: Final = f"PUT 0+{len(SMALL)}"


@pytest.mark.parametrize("no", [response(400), response(403), response(404), response(500), LOST], ids=repr)
def test_a_mount_that_is_refused_in_any_way_leaves_the_upload_to_do(no: BufferedResponse | TransportError) -> None:
    upload = Upload(responses(no, OPENED, response(201)), SMALL, sources=["me/base"])
    assert upload.run() == ["POST", "POST", ONE_PUT]
    assert not upload.upload.mounted_or_shared


def test_a_mount_that_opens_a_session_instead_is_used() -> None:
    upload = Upload(responses(OPENED, response(201)), SMALL, sources=["me/base"])
    assert upload.run() == ["POST", ONE_PUT]


def test_a_mount_is_asked_for_once() -> None:
    upload = Upload(responses(response(201)), SMALL, sources=["me/base"])
    assert upload.run() == ["POST"]
    assert upload.upload.mounted_or_shared


@pytest.mark.parametrize("late", [LATE, response(504), response(524)], ids=repr)
@pytest.mark.parametrize("status", [response(404), WHOLE], ids=["session gone", "session whole"])
def test_a_commit_that_a_gateway_did_not_wait_for_is_looked_for(
    late: BufferedResponse | TransportError, status: BufferedResponse
) -> None:
    absent = [response(404), status]
    upload = Upload(responses(OPENED, late, *absent * 4, response(200)), SMALL)
    assert upload.run() == ["POST", ONE_PUT, *["HEAD", "GET"] * 4, "HEAD"]
    assert upload.player.waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_commit_that_is_never_seen_is_sent_again_in_the_end() -> None:
    absent = [response(404), WHOLE]
    upload = Upload(responses(OPENED, response(504), *absent * 7, response(201)), SMALL)
    assert upload.run()[-1] == "PUT", "all bytes are there"
    assert sum(upload.player.waits) > 60


def test_a_lost_commit_of_a_session_that_is_gone_is_looked_for_where_much_would_be_sent_again() -> None:
    kept = DictMemory({KEY: ResumePoint(f"{ORIGIN}/u", 2 * MIB)})
    said = response(204, {"range": f"0-{2 * MIB - 1}", "location": "/u"})
    gone = [response(404), response(404)]
    upload = Upload(responses(said, LOST, *gone * 3, response(200)), memory=kept, part=2 * MIB)
    assert upload.run()[:2] == ["GET", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]


def test_a_commit_that_is_lost_twice_is_looked_for() -> None:
    absent = [response(404), WHOLE]
    upload = Upload(responses(OPENED, LOST, *absent, LOST, *absent * 2, response(200)), SMALL)
    assert upload.run() == ["POST", ONE_PUT, "HEAD", "GET", "PUT", *["HEAD", "GET"] * 2, "HEAD"]


def test_a_request_that_was_put_off_is_sent_again_without_a_question() -> None:
    busy = response(429, {"retry-after": "7"})
    upload = Upload(responses(OPENED, busy, response(202, {"location": "/u"}), response(201)), part=2 * MIB)
    assert upload.run() == ["POST", *[f"PATCH 0+{2 * MIB}"] * 2, f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]
    # Then the next ones come at a distance from each other.
    assert upload.player.waits == pytest.approx([7.0, 0.1])


@pytest.mark.parametrize("no", [response(400), response(405), response(416), response(501)], ids=repr)
def test_a_last_part_that_is_not_taken_with_the_commit_goes_before_it(no: BufferedResponse) -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        return no if request.method == "PUT" and body else registry(request, body)

    upload = Upload(peer, part=2 * MIB)
    last = f"{2 * MIB}+{SIZE - 2 * MIB}"
    assert upload.run() == ["POST", f"PATCH 0+{2 * MIB}", f"PUT {last}", "GET", f"PATCH {last}", "PUT"]
    assert registry.blobs[HELD] == DATA


@pytest.mark.parametrize("last", [f"0-{2 * MIB}", f"{MIB}-{2 * MIB - 1}", f"0-{MIB - 1}"])
def test_a_count_of_the_last_part_alone_or_of_one_byte_too_many_is_no_loss(last: str) -> None:
    opened = {"POST": OPENED, "PUT": response(201)}
    said = iter([response(202, {"range": f"0-{MIB}"}), response(202, {"range": last})])
    upload = Upload(lambda request, _: next(said) if request.method == "PATCH" else opened[request.method])
    assert upload.run() == ["POST", f"PATCH 0+{MIB}", f"PATCH {MIB}+{MIB}", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]


def test_a_status_of_one_byte_too_many_is_the_end_of_the_blob() -> None:
    more = response(204, {"range": f"0-{len(SMALL)}", "location": "/u"})
    upload = Upload(responses(OPENED, LOST, response(404), more, response(201)), SMALL)
    assert upload.run()[-1] == "PUT"


@pytest.mark.parametrize("no", [response(403, {}, b"<html>no</html>"), response(422), response(411)], ids=repr)
def test_a_first_part_that_is_refused_leads_to_the_whole_blob(no: BufferedResponse) -> None:
    assert Upload(responses(OPENED, no, OPENED, response(201))).run()[-1] == f"PUT 0+{SIZE}"


def test_a_right_that_is_denied_is_no_matter_of_parts() -> None:
    upload = Upload(responses(OPENED, refuse(403, "DENIED")))
    assert reason_of(upload.fail()) is RejectionReason.UNAUTHORIZED


def test_parts_get_smaller_behind_a_gateway_that_breaks_them() -> None:
    empty = response(204, {"location": "/u", "range": "0-0"})
    peer = responses(OPENED, response(502), empty, response(504), empty, LOST, empty, response(502))
    data = bytes(40 * MIB)
    upload = Upload(peer, data, part=64 * MIB, retry=RetryPolicy())
    upload.sizes.refuse_last_part()
    assert isinstance(upload.fail(), ServerError)
    sizes = [int(step.split("+")[1]) // MIB for step in upload.methods if step.startswith("PATCH")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


@pytest.mark.parametrize("no", [response(502), response(504), LOST, LATE], ids=repr)
def test_a_last_part_that_breaks_gets_smaller_too(no: BufferedResponse | TransportError) -> None:
    empty = response(204, {"location": "/u", "range": "0-0"})
    sent: list[int] = []

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.method == "HEAD":
            return response(404)
        if request.method not in ("PATCH", "PUT"):
            return OPENED if request.method == "POST" else empty
        sent.append(len(body) // MIB)
        if len(body) > 10 * MIB:
            return no
        return response(201) if request.method == "PUT" else response(202, {"location": "/u"})

    upload = Upload(peer, bytes(30 * MIB), part=64 * MIB)
    upload.run()
    assert sent[:3] == [30, 30, 7], "one that breaks may be weather, two are a rule"
    assert sum(sent[2:]) in (28, 29, 30)
    assert upload.methods[1] == f"PUT 0+{30 * MIB}"


def test_a_last_part_that_arrived_although_its_response_was_lost_makes_no_part_smaller() -> None:
    upload = Upload(responses(OPENED, LOST, response(200)), bytes(30 * MIB), part=64 * MIB)
    for _ in range(2):
        upload.run()
        upload.player.peer = responses(OPENED, LOST, response(200))
        upload.upload = BlobUpload(upload.player.exchange, upload.blob, upload.sizes, upload.redirects)
    assert upload.sizes.next_size(64 * MIB) == 64 * MIB


def test_a_registry_that_is_not_reached_for_a_while_makes_no_part_smaller() -> None:
    away = ConnectFailed(ORIGIN, ConnectCause.REFUSED)
    empty = response(204, {"location": "/u", "range": "0-0"})
    upload = Upload(responses(OPENED, away, empty, away, empty, response(507)))
    assert reason_of(upload.fail()) is RejectionReason.REGISTRY_FULL
    assert upload.sizes.next_size(MIB) == MIB


def test_what_is_forced_is_sent_although_another_push_had_it() -> None:
    registry = MemoryRegistry()
    registry.blobs[HELD] = DATA
    upload = Upload(registry, force=True)
    upload.player.had_by_others.add(KEY)
    assert upload.run()[0] == "POST"
    assert DIGEST in upload.player.requests[-1].url


def test_of_a_blob_whose_upload_is_not_opened_nothing_is_told() -> None:
    upload = Upload(responses(refuse(403, "DENIED")))
    assert reason_of(upload.fail()) is RejectionReason.UNAUTHORIZED
    assert upload.progress == []
