"""An upload while connections break, acknowledgements get lost, sessions die and registries are busy."""

from __future__ import annotations

from tests.support.blobs import MIB, digest_of
from tests.support.memory_registry import Deviations, Fault, MemoryRegistry
from tests.support.scripted_flow import ORIGIN, DictMemory, response, responses
from tests.support.upload_machine import DATA, HELD, KEY, LOST, OPENED, SIZE, SMALL, Upload

from ollama_push.core.errors import (
    ConnectionLost,
    TransportError,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.resume import ResumePoint
from ollama_push.core.responses import BufferedResponse, SendRequest
from ollama_push.core.retry import RetryPolicy


def test_a_broken_part_goes_on_at_the_byte_where_it_is_kept() -> None:
    registry = MemoryRegistry(Deviations(), {2: (Fault.RESET, 1000)})
    upload = Upload(registry)
    assert upload.run()[2:5] == [f"PATCH {MIB}+{MIB}", "GET", f"PATCH {MIB + 1000}+{MIB}"]
    assert registry.received == SIZE
    assert upload.player.waits == [1.0]
    assert upload.progress == [0, MIB, MIB + 1000, SIZE]


def test_a_broken_part_begins_the_blob_anew_where_it_ends_the_session() -> None:
    upload = Upload(MemoryRegistry(Deviations(keeps_broken_parts=False), {2: (Fault.RESET, 1000)}))
    assert upload.run()[2:6] == [f"PATCH {MIB}+{MIB}", "GET", "POST", f"PATCH 0+{MIB}"]
    assert upload.progress == [0, MIB, 0, SIZE]


def test_a_lost_acknowledgement_of_a_part_is_no_loss() -> None:
    registry = MemoryRegistry(Deviations(), {1: (Fault.LOST_ACK, 0)})
    assert Upload(registry).run()[1:4] == [f"PATCH 0+{MIB}", "GET", f"PATCH {MIB}+{MIB}"]
    assert registry.received == SIZE


def test_a_lost_acknowledgement_of_the_commit_is_looked_up() -> None:
    upload = Upload(MemoryRegistry(Deviations(), {3: (Fault.LOST_ACK, 0)}))
    assert upload.run()[3:] == [f"PUT {2 * MIB}+{SIZE - 2 * MIB}", "HEAD"]


def test_a_broken_commit_is_sent_again() -> None:
    last = f"PUT {2 * MIB}+{SIZE - 2 * MIB}"
    assert Upload(MemoryRegistry(Deviations(), {3: (Fault.RESET, 0)})).run()[3:] == [last, "HEAD", "GET", last]


def test_a_broken_small_blob_goes_on_as_a_part() -> None:
    registry = MemoryRegistry(Deviations(), {1: (Fault.RESET, 3)})
    assert Upload(registry, SMALL).run() == ["POST", "PUT 0+5", "HEAD", "GET", "PUT 3+2"]
    assert registry.blobs["me/llama", digest_of(SMALL)] == SMALL


def test_a_part_that_may_be_unread_is_asked_for_at_once_and_then_sent_over_a_new_connection() -> None:
    registry = MemoryRegistry(Deviations(), {2: (Fault.UNREAD, 1000)})
    upload = Upload(registry, retry=RetryPolicy(attempts=1))
    rest = f"PUT {2 * MIB + 1000}+{SIZE - 2 * MIB - 1000}"
    assert upload.run()[2:] == [f"PATCH {MIB}+{MIB}", "GET", f"PATCH {MIB + 1000}+{MIB}", rest]
    assert registry.received == SIZE
    assert upload.player.waits == [0.0]
    assert [sent.request.fresh for sent in upload.player.of(SendRequest)] == [False] * 4 + [True] * 2
    assert upload.sizes.next_size(SIZE) == MIB


def test_a_commit_that_may_be_unread_is_looked_for_at_once() -> None:
    last = f"PUT {2 * MIB}+{SIZE - 2 * MIB}"
    upload = Upload(MemoryRegistry(Deviations(), {3: (Fault.UNREAD, 0)}), retry=RetryPolicy(attempts=1))
    assert upload.run()[3:] == [last, "HEAD", "GET", last]


def test_a_commit_without_a_body_that_may_be_unread_is_looked_for_at_once() -> None:
    kept = DictMemory({KEY: ResumePoint(f"{ORIGIN}/u", SIZE)})
    unread = ConnectionLost(ORIGIN, unread=True)
    arrived = response(204, {"range": f"0-{SIZE - 1}"})
    upload = Upload(responses(arrived, unread, response(200)), memory=kept, retry=RetryPolicy(attempts=1))
    assert upload.run() == ["GET", "PUT", "HEAD"]


def test_over_a_new_connection_no_part_is_unread() -> None:
    peer = MemoryRegistry(Deviations(), {2: (Fault.UNREAD, 0), 4: (Fault.UNREAD, 0)})
    error = Upload(peer, retry=RetryPolicy(attempts=1)).fail()
    assert isinstance(error, ConnectionLost)
    assert not error.unread


def test_an_expired_session_begins_anew() -> None:
    upload = Upload(MemoryRegistry(Deviations(), {2: (Fault.SESSIONS_GONE, 0)}))
    assert upload.run()[2:5] == [f"PATCH {MIB}+{MIB}", "POST", f"PATCH 0+{MIB}"]
    assert upload.player.waits == [1.0]


def test_an_expired_session_at_the_commit_begins_anew_unless_the_blob_is_there() -> None:
    registry = MemoryRegistry(Deviations(), {3: (Fault.SESSIONS_GONE, 0)})
    assert Upload(registry).run()[4:6] == ["HEAD", "POST"]
    assert Upload(responses(OPENED, response(404), response(200)), SMALL).run() == ["POST", "PUT 0+5", "HEAD"]


def test_a_busy_registry_is_waited_for() -> None:
    upload = Upload(MemoryRegistry(Deviations(), {1: (Fault.SLOW_DOWN, 0), 4: (Fault.BUSY, 0)}))
    upload.run()
    assert upload.player.waits[0] == 7.0
    assert 1.0 in upload.player.waits


def test_progress_makes_patience_start_anew() -> None:
    faults = dict.fromkeys(range(1, 30, 2), (Fault.RESET, 100000))
    registry = MemoryRegistry(Deviations(), faults)
    upload = Upload(registry)
    upload.run()
    assert registry.blobs[HELD] == DATA
    assert set(upload.player.waits) == {1.0}
    assert len(upload.player.waits) > 10


def test_without_progress_patience_ends() -> None:
    def peer(request: HttpRequest, _body: bytes) -> BufferedResponse | TransportError:
        return LOST if request.method == "PATCH" else response(202, {"location": "/u", "range": "0-0"})

    upload = Upload(peer)
    assert upload.fail() is LOST
    assert LOST.attempts == 4
    assert upload.player.waits == [1.0, 2.0, 4.0]
    assert KEY in upload.player.memory.kept, "the next push may go on"
