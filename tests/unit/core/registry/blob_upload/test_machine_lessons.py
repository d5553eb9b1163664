"""What an upload learns of its registry, and what it makes of what earlier ones have learnt."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.memory_registry import Deviations, MemoryRegistry
from tests.support.scripted_flow import ORIGIN, DictMemory, refuse, response, responses
from tests.support.upload_machine import DATA, DIGEST, HELD, KEY, LOST, OPENED, SIZE, SMALL, Upload

from ollama_push.core.errors import PushInterrupted, TransportError
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.machine import SharedFindings
from ollama_push.core.registry.effects import ForgetStored
from ollama_push.core.registry.knowledge import Lessons
from ollama_push.core.registry.resume import ResumePoint
from ollama_push.core.responses import BufferedResponse

WHOLE_PUT: Final = f"PUT 0+{SIZE}"
KEPT: Final = ResumePoint(f"{ORIGIN}/u", MIB)


@pytest.mark.parametrize(
    ("ways", "lessons"),
    [
        (Deviations(whole_only=True), Lessons(whole_only=True)),
        (Deviations(most_bytes=600_000), Lessons(largest_part_bytes=MIB // 2, has_status=True)),
    ],
    ids=["whole only", "limit"],
)
def test_what_one_upload_learns_the_next_one_knows(ways: Deviations, lessons: Lessons) -> None:
    registry = MemoryRegistry(ways)
    first = Upload(registry)
    first.run()
    assert first.lessons[-1] == lessons
    asked, registry.blobs = len(first.methods), {}
    second = Upload(registry, lessons=lessons)
    second.run()
    assert len(second.methods) < asked, "nothing is tried in vain"
    assert second.lessons == [], "nothing is new"
    assert registry.blobs[HELD] == DATA


def test_a_last_part_that_goes_apart_is_learnt() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        return response(400) if request.method == "PUT" and body else registry(request, body)

    first = Upload(peer, part=2 * MIB)
    first.run()
    assert first.lessons[-1] == Lessons(last_part_apart=True, has_status=True)
    again = Upload(peer, part=2 * MIB, lessons=first.lessons[-1])
    assert again.run() == ["POST", f"PATCH 0+{2 * MIB}", f"PATCH {2 * MIB}+{SIZE - 2 * MIB}", "PUT"]


def test_what_was_learnt_before_a_failure_is_kept() -> None:
    upload = Upload(responses(OPENED, refuse(405, "UNSUPPORTED"), OPENED, response(507)))
    upload.fail()
    assert upload.lessons == [Lessons(whole_only=True)]


def test_a_blob_that_is_to_go_whole_is_one_request() -> None:
    registry = MemoryRegistry()
    assert Upload(registry, part="whole").run() == ["POST", WHOLE_PUT]
    assert registry.blobs[HELD] == DATA


def test_a_blob_that_is_to_go_whole_starts_again_when_it_breaks() -> None:
    partly = response(204, {"range": f"0-{MIB - 1}", "location": "/u"})
    peer = responses(OPENED, LOST, response(404), partly, OPENED, response(201))
    assert Upload(peer, part="whole").run() == ["POST", WHOLE_PUT, "HEAD", "GET", "POST", WHOLE_PUT]


def test_a_blob_that_breaks_ever_farther_as_a_whole_ends_some_time() -> None:
    arrived = iter(range(MIB, SIZE, 1000))

    def peer(request: HttpRequest, _body: bytes) -> BufferedResponse | TransportError:
        match request.method:
            case "POST":
                return OPENED
            case "GET":
                return response(204, {"range": f"0-{next(arrived)}", "location": "/u"})
            case "HEAD":
                return response(404)
        return LOST

    upload = Upload(peer, part="whole")
    assert upload.fail() is LOST
    assert upload.methods.count(WHOLE_PUT) == 4


def test_an_upload_in_parts_is_not_continued_as_a_whole() -> None:
    kept = DictMemory({KEY: KEPT})
    partly = response(204, {"range": f"0-{MIB - 1}", "location": "/u"})
    upload = Upload(responses(partly, OPENED, response(201)), memory=kept, part="whole")
    assert upload.run() == ["GET", "POST", WHOLE_PUT]


def _stopped(upload: Upload, registry: MemoryRegistry) -> None:
    """Interrupt *upload* to *registry* behind its first part."""

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        upload.player.interrupted = request.method == "PATCH"
        return registry(request, body)

    upload.player.peer = peer
    assert isinstance(upload.fail(), PushInterrupted)


def test_an_interrupted_upload_finds_out_that_the_registry_cannot_tell_how_far_it_is() -> None:
    registry = MemoryRegistry(Deviations(has_status=False))
    upload = Upload(registry)
    _stopped(upload, registry)
    assert upload.methods == ["POST", f"PATCH 0+{MIB}", "GET"]
    assert (upload.upload.held_bytes, upload.upload.lost_bytes) == (0, MIB)
    assert upload.player.memory.kept == {}, "nothing that the next push could use"
    assert upload.lessons == [Lessons(has_status=False)]


@pytest.mark.parametrize(("has_status", "kept"), [(True, MIB), (False, 0)])
def test_what_is_known_of_the_status_is_not_asked_again(*, has_status: bool, kept: int) -> None:
    registry = MemoryRegistry(Deviations(has_status=has_status))
    upload = Upload(registry, lessons=Lessons(has_status=has_status))
    _stopped(upload, registry)
    assert upload.methods == ["POST", f"PATCH 0+{MIB}"]
    assert (upload.upload.held_bytes, upload.upload.lost_bytes) == (kept, MIB - kept)


@pytest.mark.parametrize("silent", [LOST, response(503)], ids=["lost", "busy"])
def test_an_interrupted_upload_does_not_wait_for_a_registry_that_does_not_say(
    silent: BufferedResponse | TransportError,
) -> None:
    upload = Upload(responses(), part=MIB)

    def peer(request: HttpRequest, _body: bytes) -> BufferedResponse | TransportError:
        upload.player.interrupted = request.method == "PATCH"
        accepted = response(202, {"location": "/u"})
        return {"POST": OPENED, "PATCH": accepted, "GET": silent}[request.method]

    upload.player.peer = peer
    assert isinstance(upload.fail(), PushInterrupted)
    assert (upload.upload.held_bytes, upload.upload.lost_bytes) == (MIB, 0), "it has acknowledged them"
    assert upload.player.waits == []
    assert upload.lessons == []


@pytest.mark.parametrize("status", [404, 400])
def test_a_session_that_a_broken_part_ended_is_not_promised_and_no_lesson(status: int) -> None:
    """Distribution 2.8, when the wait after the break is interrupted."""
    said: dict[str, list[BufferedResponse | TransportError]] = {
        "POST": [OPENED],
        "PATCH": [response(202, {"location": "/u"}), LOST],
        "GET": [response(status)],
    }

    def peer(request: HttpRequest, _body: bytes) -> BufferedResponse | TransportError:
        given = said[request.method].pop(0)
        upload.player.interrupted = given is LOST
        return given

    upload = Upload(peer)
    assert isinstance(upload.fail(), PushInterrupted)
    assert (upload.upload.held_bytes, upload.upload.lost_bytes) == (0, MIB)
    assert upload.lessons == []


def test_where_no_status_is_known_to_be_had_none_is_asked_for() -> None:
    registry = MemoryRegistry(Deviations(has_status=False))
    kept = DictMemory({KEY: KEPT})
    upload = Upload(registry, memory=kept, lessons=Lessons(has_status=False))
    assert upload.run() == ["POST", f"PATCH 0+{MIB}", f"PATCH {MIB}+{MIB}", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]


def _mounting(*script: BufferedResponse | TransportError) -> Upload:
    return Upload(responses(*script), SMALL, sources=["me/a", "me/b", "me/c", "me/d"])


def test_the_next_repository_is_asked_when_one_has_not_got_the_blob() -> None:
    upload = _mounting(response(404), response(400), response(201))
    assert upload.run() == ["POST"] * 3
    assert [request.url.rpartition("=")[2] for request in upload.player.requests] == ["me/a", "me/b", "me/c"]
    digest = upload.blob.digest
    assert upload.player.of(ForgetStored) == [ForgetStored("me/a", digest), ForgetStored("me/b", digest)]


def test_a_repository_that_gives_a_session_instead_of_the_blob_is_the_last_one_asked() -> None:
    upload = _mounting(OPENED, response(201))
    assert upload.run() == ["POST", f"PUT 0+{len(SMALL)}"]
    assert upload.player.of(ForgetStored) == [ForgetStored("me/a", upload.blob.digest)]


def test_no_more_than_a_few_repositories_are_asked() -> None:
    assert _mounting(*[response(404)] * 3, OPENED, response(201)).run()[:4] == ["POST"] * 4


@pytest.mark.parametrize(
    "no",
    [[response(403)], [response(401), response(401)]],
    ids=["forbidden", "no token"],  # the second 401 is that of the registry's root, which has no challenge either
)
def test_a_repository_that_this_login_may_not_read_is_asked_once_in_a_push(no: list[BufferedResponse]) -> None:
    shared = SharedFindings()
    first = Upload(responses(*no, OPENED, response(201)), SMALL, sources=["me/a"], shared=shared)
    assert first.run()[-2:] == ["POST", f"PUT 0+{len(SMALL)}"]
    assert first.player.of(ForgetStored) == [], "another login may read there"
    assert shared.unreadable == {"me/a"}
    second = Upload(responses(OPENED, response(201)), SMALL, sources=["me/a"], shared=shared)
    assert second.run() == ["POST", f"PUT 0+{len(SMALL)}"]


def test_a_mount_names_the_blob_and_its_repository() -> None:
    upload = Upload(responses(response(201)), sources=["me/base"])
    upload.run()
    assert upload.player.asked == [f"POST /v2/me/llama/blobs/uploads/?mount={DIGEST}&from=me/base"]
