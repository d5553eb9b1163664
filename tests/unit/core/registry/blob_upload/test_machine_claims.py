"""One blob's upload that another machine has, has had, or takes over while this one is stopped."""

from __future__ import annotations

from tests.support.blobs import MIB, digest_of
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import DictMemory, Responder
from tests.support.upload_machine import DATA, HELD, KEY, LOST, SIZE, SMALL, Upload

from ollama_push.core.errors import PushInterrupted, TransportError
from ollama_push.core.events import StatusChanged
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.machine import SharedFindings
from ollama_push.core.registry.effects import ClaimUpload, Effect, ForgetResumePoint, ReleaseUpload, ReportRetry, Sleep
from ollama_push.core.registry.manifests import short_digest
from ollama_push.core.registry.resume import FinishedElsewhere, InUseElsewhere
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import RetryPolicy

_WHOLE = ["POST", f"PATCH 0+{MIB}", f"PATCH {MIB}+{MIB}", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]


def test_while_another_machine_has_the_upload_nothing_is_sent() -> None:
    memory = DictMemory()
    memory.elsewhere = [InUseElsewhere(0.5), InUseElsewhere(0.25)]
    upload = Upload(MemoryRegistry(), memory=memory)
    assert upload.run() == ["HEAD", *_WHOLE]
    kinds = (ClaimUpload, ReleaseUpload, Sleep)
    claim, release = ClaimUpload(KEY), ReleaseUpload(KEY)
    expected: list[Effect] = [claim, release, Sleep(0.5), claim, release, Sleep(0.25), claim]
    assert [effect for effect in upload.player.effects if isinstance(effect, kinds)][: len(expected)] == expected


def test_a_wait_for_another_machine_is_told_once() -> None:
    memory = DictMemory()
    memory.elsewhere = [InUseElsewhere(0.5)] * 5
    upload = Upload(MemoryRegistry(), memory=memory)
    upload.run()
    statuses = [event.status for event in upload.player.events if isinstance(event, StatusChanged)]
    assert statuses == [f"waiting for another machine's upload of {short_digest(KEY.digest)}"]


def test_what_the_other_machine_has_stored_meanwhile_is_not_sent() -> None:
    registry = MemoryRegistry()
    registry.blobs[HELD] = DATA
    memory = DictMemory()
    memory.elsewhere = [InUseElsewhere(1.0)]
    upload = Upload(registry, memory=memory)
    assert upload.run() == ["HEAD"]
    assert upload.upload.mounted_or_shared
    assert memory.claimed == set()


def test_what_the_other_machine_left_is_resumed() -> None:
    registry = MemoryRegistry()
    first = Upload(registry, retry=RetryPolicy(attempts=1))
    first.player.peer = _breaking(registry, "PUT")
    first.fail()
    memory = DictMemory(first.player.memory.kept)
    memory.elsewhere = [InUseElsewhere(1.0)]
    second = Upload(registry, memory=memory)
    assert second.run() == ["HEAD", "GET", f"PUT {2 * MIB}+{SIZE - 2 * MIB}"]
    assert second.upload.resumed_bytes == 2 * MIB


def test_a_push_that_waits_for_another_machine_can_be_interrupted() -> None:
    memory = DictMemory()
    memory.elsewhere = [InUseElsewhere(1.0)] * 10
    upload = Upload(MemoryRegistry(), memory=memory)
    wait = upload.player.clock
    upload.player.exchange._interrupted = lambda: wait.now > 103
    assert isinstance(upload.fail(), PushInterrupted)
    assert upload.methods == []
    assert len(upload.player.of(Sleep)) == 4
    assert len(upload.player.of(ReleaseUpload)) == 4, "each claim was given back once"


def test_a_blob_that_another_machine_has_finished_lately_is_looked_for() -> None:
    registry = MemoryRegistry()
    registry.blobs[HELD] = DATA
    memory = DictMemory()
    memory.elsewhere = [FinishedElsewhere()]
    upload = Upload(registry, memory=memory)
    assert upload.run() == ["HEAD"]
    assert upload.player.of(Sleep) == []


def test_a_blob_that_another_machine_has_dropped_is_sent() -> None:
    memory = DictMemory()
    memory.elsewhere = [FinishedElsewhere()]
    assert Upload(MemoryRegistry(), memory=memory).run() == ["HEAD", *_WHOLE]


def test_who_has_lost_the_claim_sends_nothing_more_to_the_session() -> None:
    """The other machine has gone on from where we were, and has died in turn: we go on behind it."""
    registry = MemoryRegistry()
    memory = DictMemory()
    upload = Upload(registry, memory=memory)
    # Before the first part, and not before the second one.
    memory.held_for = 2
    assert upload.run() == ["POST", f"PATCH 0+{MIB}", "HEAD", "GET", *_WHOLE[2:]]
    assert registry.blobs[HELD] == DATA
    assert upload.upload.resumed_bytes == MIB
    assert upload.player.of(ReleaseUpload) == [ReleaseUpload(KEY)] * 2


def test_who_has_lost_the_claim_finds_what_the_other_machine_stored() -> None:
    registry = MemoryRegistry()
    memory = DictMemory()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        registry.blobs[HELD] = DATA
        return registry(request, body)

    upload = Upload(peer, memory=memory)
    memory.held_for = 2
    assert upload.run()[-1] == "HEAD"
    assert upload.upload.mounted_or_shared
    assert upload.progress[-1] == SIZE
    assert upload.player.of(ForgetResumePoint) == [ForgetResumePoint(KEY)]


def test_a_body_that_ended_with_the_claim_is_no_failure() -> None:
    """Even where nothing is retried: the registry has done nothing wrong."""
    registry = MemoryRegistry()
    memory = DictMemory()
    upload = Upload(_breaking(registry, "PATCH"), memory=memory, retry=RetryPolicy(attempts=1))
    memory.held_for = 2
    assert upload.run() == ["POST", f"PATCH 0+{MIB}", "HEAD", "GET", "POST", *_WHOLE[1:]]
    assert upload.player.of(ReportRetry) == [ReportRetry(LOST, 0.0)]
    assert registry.blobs[HELD] == DATA


def _breaking(registry: MemoryRegistry, method: str) -> Responder:
    """Return *registry* with the first response to *method* lost, before it gets there."""
    broken = list[HttpRequest]()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.method == method and not broken:
            broken.append(request)
            return LOST
        return registry(request, body)

    return peer


def test_where_another_machine_was_seen_at_work_every_later_blob_is_looked_for() -> None:
    registry, shared = MemoryRegistry(), SharedFindings()
    memory = DictMemory()
    memory.elsewhere = [InUseElsewhere(1.0)]
    Upload(registry, memory=memory, shared=shared).run()
    registry.blobs["me/llama", digest_of(SMALL)] = SMALL
    later = Upload(registry, SMALL, shared=shared)
    assert later.run() == ["HEAD"], "between the first look and the claim it may have been stored"
    assert later.upload.mounted_or_shared
