"""Every recording of a real server, through both clients, however it is cut: the right verdict, the same events."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

import pytest
from tests.outcomes import MODEL, ONCE, Push, Told, facts_of, push, push_awaited

from ollama_push.core.errors import PushRejected, RejectionReason, ServerError
from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.testing.recordings import Recording
from ollama_push.testing.server import Script, ScriptedServer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

FOLDER: Final = Path(__file__).parents[1] / "data" / "recordings"
RECORDINGS: Final = {path.stem: Recording.load(path) for path in sorted(FOLDER.glob("*.json"))}
R = RejectionReason

# What each recorded situation means; successes are told by their name.
REJECTED: Final = {
    "error_access_denied": R.UNAUTHORIZED,
    "error_bad_name": R.INVALID_NAME,
    "error_basic_challenge": R.REALM_MISMATCH,
    "error_commit_400": R.DIGEST_INVALID,
    "error_foreign_realm": R.REALM_MISMATCH,
    "error_head_500": R.REGISTRY_FAILED,
    "error_https_to_http": R.REGISTRY_NOT_TLS,
    "error_manifest_400": R.BLOB_UNKNOWN,
    "error_model_missing": R.MODEL_NOT_FOUND,
    "error_part_500_for_ever": R.REGISTRY_FAILED,
    "error_post_403": R.UNAUTHORIZED,
    "error_registry_refused": R.REGISTRY_UNREACHABLE,
    "error_tensors_access_denied_manifest": R.UNAUTHORIZED,
    "error_tensors_commit_500": R.REGISTRY_FAILED,
    "error_token_denied": R.UNAUTHORIZED,
}
REFUSED: Final = {
    "error_manifest_400_not_streamed": (500, R.BLOB_UNKNOWN),
    "error_model_missing_not_streamed": (500, R.MODEL_NOT_FOUND),
    "reject_array": (400, R.UNKNOWN),
    "reject_double_slash": (307, R.UNKNOWN),
    "reject_empty_body": (400, R.UNKNOWN),
    "reject_get": (405, R.UNKNOWN),
    "reject_gzip": (400, R.UNKNOWN),
    "reject_host_header": (403, R.UNKNOWN),
    "reject_no_model": (400, R.INVALID_NAME),
    "reject_origin": (403, R.UNKNOWN),
    "reject_trailing_slash": (307, R.UNKNOWN),
    "reject_truncated": (400, R.UNKNOWN),
    "reject_wrong_type": (400, R.UNKNOWN),
}


def recorded_lines(recording: Recording) -> list[dict[str, Any]]:
    """Read the body's objects with a plain json.loads: a second opinion on what was said."""
    head, _, body = recording.raw.partition(b"\r\n\r\n")
    if b"chunked" in head:
        data = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            data, body = data + body[: int(size, 16)], body[int(size, 16) + 2 :]
        body = data
    return [json.loads(line) for line in body.splitlines() if line]


def recorded_events(recording: Recording) -> list[PushEvent]:
    events: list[PushEvent] = []
    for line in recorded_lines(recording):
        if "error" in line:
            continue
        if line["status"] == "success":
            events.append(PushSucceeded())
        elif "digest" in line:
            event = LayerProgress(line["digest"], line.get("total", 0), line.get("completed", 0), line["status"])
            events.append(event)
        else:
            events.append(StatusChanged(line["status"]))
    return events


def cuttings(name: str) -> list[Script]:
    """Return whole, as recorded, a byte at a time where it is not too long, and some random ways."""
    recording, chance = RECORDINGS[name], random.Random(name)
    raw = recording.raw
    ways = [recording.cut(len(raw)), tuple(data for _, data in recording.received)]
    if len(raw) <= 20_000:
        ways.append(recording.cut(1))
    else:
        ways.append(recording.cut(*[1] * 1500, len(raw) - 3000, 1))
    # No cut is so small that a long recording takes thousands of segments.
    least = max(1, len(raw) // 400)
    ways += [recording.cut(*(chance.randint(least, least * 40) for _ in range(500))) for _ in range(3)]
    return ways


@pytest.mark.parametrize("name", RECORDINGS)
def test_recording_gives_its_verdict_and_events_however_it_is_cut(name: str) -> None:
    recording = RECORDINGS[name]
    told: list[Told] = []
    for script in cuttings(name):
        with ScriptedServer(script) as server:
            asked = Push(server.url, stream=recording.streamed, retry=ONCE)
            told += [push(asked, Urllib3Transport()), push_awaited(asked, AiohttpTransport)]
    first = told[0]
    for other in told[1:]:
        assert other.facts == first.facts
    if recording.raw.startswith(b"HTTP/1.1 200"):
        assert list(first.events) == recorded_events(recording)
    if name in REJECTED:
        assert isinstance(first.error, PushRejected)
        assert first.error.reason is REJECTED[name]
        assert first.error.message == recorded_lines(recording)[-1]["error"]
    elif name in REFUSED:
        assert isinstance(first.error, ServerError)
        assert (first.error.status, first.error.reason) == REFUSED[name]
    else:
        assert name.startswith("success")
        assert first.error is None
        assert first.receipt is not None
        assert first.receipt.model == MODEL
        totals = {line["digest"]: line["total"] for line in recorded_lines(recording) if "digest" in line}
        assert {layer.digest: layer.total_bytes for layer in first.receipt.layers} == totals
        assert first.receipt.total_bytes == sum(totals.values())


def test_every_recording_has_an_expectation() -> None:
    named = {*REJECTED, *REFUSED, *(name for name in RECORDINGS if name.startswith("success"))}
    assert set(RECORDINGS) == named
    assert len(RECORDINGS) == 39


def test_no_cut_of_a_success_is_a_success() -> None:
    raw = RECORDINGS["success"].raw
    end = raw.index(b'{"status":"success"}') + len(b'{"status":"success"}\n')
    offsets = range(len(raw))
    with ScriptedServer(*[(raw[:offset],) for offset in offsets]) as server:
        asked = Push(server.url, retry=ONCE)
        sync = [push(asked, Urllib3Transport()) for _ in offsets]
    with ScriptedServer(*[(raw[:offset],) for offset in offsets]) as server:
        asked = Push(server.url, retry=ONCE)
        asynced = [push_awaited(asked, AiohttpTransport) for _ in offsets]
    head = raw.index(b"\r\n\r\n") + 4
    for offset, one, other in zip(offsets, sync, asynced, strict=True):
        assert (one.receipt is not None) == (other.receipt is not None) == (offset >= end), offset
        if offset >= head:  # http.client takes half a head for a whole one, so before it the errors differ
            assert facts_of(one.error) == facts_of(other.error), offset
            assert one.events == other.events, offset
