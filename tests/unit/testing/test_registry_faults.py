"""Each fault of the embedded registry strikes the request it names, in the way it names."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from tests.support.blobs import digest_of
from tests.support.registry_client import PATIENCE, REPOSITORY, RawClient

from ollama_push.testing.registry import (
    AFTER_BODY,
    Action,
    BrokenPartPolicy,
    EmbeddedRegistry,
    Fault,
    Hangup,
    LoseAnswer,
    Reply,
    Reset,
    Stall,
)

_BUSY = Reply(503, {"Retry-After": "7"}, b"busy")


@contextlib.contextmanager
def _faulty(
    tmp_path: Path, *faults: Fault, broken_parts: BrokenPartPolicy = BrokenPartPolicy.KEEPS_BROKEN_PARTS
) -> Iterator[tuple[EmbeddedRegistry, RawClient]]:
    with EmbeddedRegistry(tmp_path, faults=faults, broken_parts=broken_parts) as registry, RawClient(registry) as peer:
        yield registry, peer


def _patched(peer: RawClient, where: str, data: bytes) -> int | str:
    """Status, or the kind of failure."""
    try:
        return peer.patch(where, data).status
    except urllib3.exceptions.ProtocolError as exc:
        return type(exc.args[1]).__name__


def test_the_nth_matching_request_and_those_after_it_are_hit(tmp_path: Path) -> None:
    with _faulty(tmp_path, Fault("PATCH", nth=2, times=2, action=_BUSY)) as (registry, peer):
        where = peer.start()
        assert [_patched(peer, where, b"a") for _ in range(5)] == [202, 503, 503, 202, 202]
        assert [session.size for session in registry.sessions()] == [3]


def test_a_fault_without_end_hits_for_ever(tmp_path: Path) -> None:
    with _faulty(tmp_path, Fault("PATCH", nth=2, times=None, action=_BUSY)) as (_, peer):
        where = peer.start()
        assert [_patched(peer, where, b"a") for _ in range(4)] == [202, 503, 503, 503]


def test_other_methods_and_paths_pass_and_are_not_counted(tmp_path: Path) -> None:
    with _faulty(tmp_path, Fault("POST", r"^/v2/other/one/.*\?mount=", action=_BUSY)) as (_, peer):
        peer.start()
        peer.start("other/one")
        assert peer.send("POST", "/v2/other/one/blobs/uploads/?mount=x").status == 503


def test_a_reply_is_answered_as_written(tmp_path: Path) -> None:
    with _faulty(tmp_path, Fault("GET", action=_BUSY)) as (_, peer):
        response = peer.send("GET", "/v2/")
        assert (response.status, response.headers["Retry-After"], response.data) == (503, "7", b"busy")


def test_of_two_faults_the_first_acts_and_both_count(tmp_path: Path) -> None:
    faults = [Fault("GET", nth=1, action=Reply(500)), Fault("GET", nth=1, times=2, action=Reply(502))]
    with _faulty(tmp_path, *faults) as (_, peer):
        assert [peer.send("GET", "/v2/").status for _ in range(3)] == [500, 502, 200]


def test_a_fault_can_be_added_later(tmp_path: Path) -> None:
    with _faulty(tmp_path) as (registry, peer):
        peer.send("GET", "/v2/")
        registry.add_fault(Fault("GET", action=Reply(500)))
        assert [peer.send("GET", "/v2/").status for _ in range(2)] == [500, 200]


@pytest.mark.parametrize(("action", "seen"), [(Reset(), "ConnectionResetError"), (Hangup(), "RemoteDisconnected")])
def test_a_cut_connection_gives_no_answer_and_takes_no_byte(tmp_path: Path, action: Action, seen: str) -> None:
    with _faulty(tmp_path, Fault("PATCH", action=action)) as (registry, peer):
        where = peer.start()
        # An empty body: with one under way, a hangup too may reach the peer as a reset.
        assert _patched(peer, where, b"") == seen
        assert [session.size for session in registry.sessions()] == [0]
        assert registry.requests[-1].status is None


@pytest.mark.parametrize("action", [Reset(), Hangup(), _BUSY])
def test_a_fault_in_the_middle_leaves_exactly_the_bytes_before_it(tmp_path: Path, action: Action) -> None:
    data = bytes(range(256)) * 8192
    with _faulty(tmp_path, Fault("PATCH", after_bytes=1_000_001, action=action)) as (registry, peer):
        where = peer.start()
        assert _patched(peer, where, data) != 202
        assert peer.send("GET", where).headers["Range"] == "0-1000000"
        assert peer.patch(where, data[1_000_001:], 1_000_001).status == 202
        assert peer.commit(where, digest_of(data)).status == 201
        assert registry.received_bytes == len(data)
        assert [seen.body_bytes for seen in registry.requests if seen.method == "PATCH"] == [1_000_001, 1_097_151]


def test_a_fault_in_the_middle_kills_the_session_by_that_policy(tmp_path: Path) -> None:
    fault = Fault("PATCH", after_bytes=3, action=Reply(500))
    with _faulty(tmp_path, fault, broken_parts=BrokenPartPolicy.KILLS_SESSION) as (_, peer):
        where = peer.start()
        assert _patched(peer, where, b"abcdef") == 500
        assert peer.send("GET", where).status == 404


@pytest.mark.parametrize(("size", "expected"), [(2, 202), (3, 500), (4, 500)])
def test_a_body_that_ends_before_the_fault_passes(tmp_path: Path, size: int, expected: int) -> None:
    with _faulty(tmp_path, Fault("PATCH", after_bytes=3, action=Reply(500))) as (_, peer):
        assert _patched(peer, peer.start(), b"x" * size) == expected


def test_a_manifest_too_can_break_off(tmp_path: Path) -> None:
    with _faulty(tmp_path, Fault("PUT", "/manifests/", after_bytes=3, action=Reply(500))) as (registry, peer):
        assert peer.put_manifest(b'{"layers":[]}').status == 500
        assert registry.manifest(REPOSITORY, "v1") is None
        assert peer.put_manifest(b'{"layers":[]}').status == 201


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault("PATCH", action=LoseAnswer()), "RemoteDisconnected"),
        (Fault("PATCH", after_bytes=AFTER_BODY, action=Reset()), "ConnectionResetError"),
        (Fault("PATCH", after_bytes=AFTER_BODY, action=Reply(502)), 502),
        (Fault("PATCH", after_bytes=AFTER_BODY, action=Stall(0.01)), 202),
    ],
)
def test_a_lost_acknowledgement_leaves_the_whole_part(tmp_path: Path, fault: Fault, seen: int | str) -> None:
    with _faulty(tmp_path, fault) as (registry, peer):
        where = peer.start()
        assert _patched(peer, where, b"abc") == seen
        assert peer.send("GET", where).headers["Range"] == "0-2"
        assert registry.requests[1].status == (seen if isinstance(seen, int) else None)


@pytest.mark.parametrize("after_bytes", [None, 3])
def test_a_stall_goes_on_after_its_time(tmp_path: Path, after_bytes: int | None) -> None:
    with _faulty(tmp_path, Fault("PATCH", after_bytes=after_bytes, action=Stall(0.01))) as (_, peer):
        where = peer.start()
        assert peer.patch(where, b"abcdef").headers["Range"] == "0-5"


def test_a_stall_ends_when_the_registry_closes(tmp_path: Path) -> None:
    with _faulty(tmp_path, Fault("PATCH", after_bytes=3, action=Stall(3600.0))) as (registry, peer):
        where = peer.start()
        ended = threading.Event()

        def push() -> None:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                peer.patch(where, b"abcdef")
            ended.set()

        thread = threading.Thread(target=push)
        thread.start()
        assert registry.wait_until(lambda: registry.received_bytes == 3, PATIENCE)
        registry.close()
        assert ended.wait(PATIENCE)
        thread.join()


def test_a_second_writer_takes_the_session_over_and_the_first_is_told(tmp_path: Path) -> None:
    with _faulty(tmp_path) as (registry, peer):
        where = peer.start()
        host, _, port = registry.host.partition(":")
        target = where.removeprefix(registry.url)
        with socket.create_connection((host, int(port)), PATIENCE) as first:
            first.sendall(f"PATCH {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 6\r\n\r\nabc".encode())
            assert registry.wait_until(lambda: registry.received_bytes == 3, PATIENCE)
            assert peer.patch(where, b"xyz", 3).status == 202
            first.sendall(b"def")
            assert first.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert peer.commit(where, digest_of(b"abcxyz")).status == 201
        assert registry.blob(digest_of(b"abcxyz")) == b"abcxyz"


@pytest.mark.parametrize("broken_parts", BrokenPartPolicy)
def test_a_whole_upload_that_breaks_off_leaves_no_session(tmp_path: Path, broken_parts: BrokenPartPolicy) -> None:
    with _faulty(tmp_path, Fault("POST", after_bytes=2, action=_BUSY), broken_parts=broken_parts) as (registry, peer):
        where = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(b'abc')}"
        assert peer.send("POST", where, b"abc").status == 503
        assert registry.sessions() == []


def test_waiting_for_what_does_not_come_ends(tmp_path: Path) -> None:
    with _faulty(tmp_path) as (registry, _):
        assert not registry.wait_until(lambda: registry.received_bytes > 0, 0.01)


def test_faults_are_counted_over_a_restart(tmp_path: Path) -> None:
    with _faulty(tmp_path, Fault("GET", nth=2, action=Reply(500))) as (registry, peer):
        peer.send("GET", "/v2/")
        peer.pool.clear()
        registry.restart()
        assert peer.send("GET", "/v2/").status == 500
