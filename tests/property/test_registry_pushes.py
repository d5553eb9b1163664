"""Whatever a registry does in mid-push: it ends with the right bytes or in one of our verdicts, and soon."""

from __future__ import annotations

from contextlib import suppress
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.blobs import noise
from tests.support.memory_models import Model, push
from tests.support.memory_registry import Deviations, Fault, MemoryRegistry
from tests.support.scripted_flow import HOST, DictMemory

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    OllamaPushError,
    PushInterrupted,
    TransportError,
    TransportTimeout,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.responses import BufferedResponse, SendRequest

pytestmark = pytest.mark.slow

_LARGE, _SMALL, _EMPTY = noise(1_600_000, 1), noise(3_000, 2), b""
MODEL = Model.of(_LARGE, _SMALL, _EMPTY)
_EARLY = frozenset(MODEL.blobs)
_EFFECTS = 1_500

ways = st.builds(
    Deviations,
    keeps_broken_parts=st.booleans(),
    most_bytes=st.none() | st.integers(1, 2_000_000),
    least_bytes=st.just(0) | st.integers(1, 2_000_000),
    whole_only=st.booleans(),
    has_status=st.booleans(),
    relative=st.booleans(),
    created_early=st.sampled_from([frozenset(), _EARLY]),
    says_range=st.booleans(),
)
kind_ways = st.builds(
    Deviations,
    keeps_broken_parts=st.booleans(),
    has_status=st.booleans(),
    relative=st.booleans(),
    created_early=st.sampled_from([frozenset(), _EARLY]),
    says_range=st.booleans(),
)
faults = st.dictionaries(st.integers(0, 60), st.tuples(st.sampled_from(Fault), st.integers(0, 1_700_000)), max_size=8)
parts = st.integers(60_000, 2_000_000) | st.none()


@given(ways=ways, faults=faults, part=parts, concurrency=st.integers(1, 4))
def test_a_push_ends_with_the_right_bytes_or_a_verdict(
    ways: Deviations, faults: dict[int, tuple[Fault, int]], part: int | None, concurrency: int
) -> None:
    registry, memory = MemoryRegistry(ways, faults), DictMemory()
    player = MODEL.player(registry, memory, most_effects=_EFFECTS)
    delivery = None
    with suppress(OllamaPushError):
        delivery = push(player, MODEL, part=part, concurrency=concurrency)
    if delivery is not None:
        assert MODEL.is_at(registry)
        assert delivery.verified
        assert memory.kept == {}
        assert memory.claimed == set()
    assert all(MODEL.blobs[digest] == data for (_repository, digest), data in registry.blobs.items())


@given(
    ways=kind_ways, fault=st.sampled_from(Fault), number=st.integers(0, 30), at=st.integers(0, 1_700_000), part=parts
)
def test_one_fault_never_fails_a_push(ways: Deviations, fault: Fault, number: int, at: int, part: int | None) -> None:
    registry = MemoryRegistry(ways, {number: (fault, at)})
    push(MODEL.player(registry, most_effects=_EFFECTS), MODEL, part=part)
    assert MODEL.is_at(registry)


@given(number=st.integers(0, 30), at=st.integers(0, 1_700_000), part=parts)
def test_where_broken_parts_are_kept_no_byte_is_sent_twice(number: int, at: int, part: int | None) -> None:
    registry = MemoryRegistry(Deviations(), {number: (Fault.RESET, at)})
    push(MODEL.player(registry), MODEL, part=part)
    assert registry.received == sum(map(len, MODEL.blobs.values()))


@given(part=st.integers(60_000, 2_000_000), most=st.integers(600_000, 1_700_000))
def test_parts_add_up_to_the_blob(part: int, most: int) -> None:
    registry = MemoryRegistry(Deviations(most_bytes=most))
    player = MODEL.player(registry)
    push(player, MODEL, part=part)
    spans = [
        sent.span
        for sent in player.of(SendRequest)
        if sent.span is not None and sent.span.size <= most and sent.span.digest in MODEL.blobs
    ]
    for digest, blob in MODEL.blobs.items():
        edges = [(span.offset, span.offset + span.size) for span in spans if span.digest == digest]
        assert [start for start, _end in edges] == [0, *(end for _start, end in edges)][: len(edges)]
        assert sum(end - start for start, end in edges) == len(blob)


@given(ways=kind_ways, stop=st.integers(0, 40), part=st.integers(60_000, 500_000))
def test_a_push_that_was_stopped_anywhere_is_finished_by_the_next(ways: Deviations, stop: int, part: int) -> None:
    registry, memory = MemoryRegistry(ways), DictMemory()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        first.interrupted = first.interrupted or len(first.of(SendRequest)) > stop
        return registry(request, body)

    first = MODEL.player(peer, memory)
    kept = lost = 0
    try:
        push(first, MODEL, part=part)
    except PushInterrupted as stopped:
        kept, lost = stopped.kept_bytes, stopped.lost_bytes
    else:
        kept = registry.received
    assert kept + lost in (0, registry.received)
    assert not (ways.has_status and lost)
    memory.claimed.clear()  # what a driver does for flows it leaves
    again = push(MODEL.player(registry, memory), MODEL, part=part)
    assert MODEL.is_at(registry)
    if ways.has_status:
        assert again.skipped_bytes + again.resumed_bytes >= kept
        assert registry.received == MODEL.manifest.total_bytes


_locations = st.sampled_from(
    [
        "",
        "/",
        "u",
        "/v2/x?a=1",
        "//other.test/u",
        "http://other.test/u",
        "ftp://x/",
        "http://h:99999/",
        "https://reg.test:5000/u?_state=a",
    ]
) | st.text(max_size=12)
_ranges = st.sampled_from(["0-0", "0--1", "bytes=0-9", "0-1599999", "0-999999999999", "1-2", "x"])
_bodies = st.sampled_from(
    [
        b"",
        b"{",
        b'{"errors":[{"code":"DIGEST_INVALID"}]}',
        b'{"errors":[{"code":"UNSUPPORTED"},1]}',
        b'{"token":"t"}',
        b"<p>no",
    ]
)
_challenges = st.sampled_from(
    ["Basic realm=x", 'Bearer realm="https://auth.test/token",scope="s"', 'Bearer realm="/t"', "?"]
)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "location": _locations,
        "range": _ranges,
        "docker-content-digest": st.sampled_from([MODEL.manifest.digest, "x"]),
        "content-length": st.sampled_from(["0", "3000", "-1", "x"]),
        "www-authenticate": _challenges,
        "retry-after": st.sampled_from(["0", "3", "1000000", "x"]),
        "oci-chunk-min-length": st.sampled_from(["0", "70000", "9" * 30, "x"]),
    },
)
_statuses = st.sampled_from(
    [200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 405, 409, 410, 413, 416, 418, 429, 500, 501, 503, 507]
)
any_answer = st.builds(BufferedResponse, _statuses, _headers, _bodies) | st.sampled_from(
    [ConnectionLost("h"), ConnectFailed("h", ConnectCause.REFUSED), TransportTimeout("h", "read", 1.0)]
).map(copy)
credentials = st.sampled_from([None, Login("me", "pa55word"), IdentityToken("1dentity"), AccessToken("acce55")])


@given(start=st.integers(0, 30), given_answers=st.lists(any_answer, max_size=40), credential=credentials)
def test_any_answers_come_to_a_verdict(
    start: int, given_answers: list[BufferedResponse | TransportError], credential: Credential | None
) -> None:
    registry, left = MemoryRegistry(), iter(given_answers)

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if len(player.of(SendRequest)) <= start:
            return registry(request, body)
        return next(left, BufferedResponse(418, {}, b""))

    player = MODEL.player(peer, credentials={HOST: credential} if credential else {}, most_effects=_EFFECTS)
    with suppress(OllamaPushError):
        push(player, MODEL, part=200_000, concurrency=1)
    assert not any(secret in repr(player.effects) for secret in ("pa55word", "1dentity", "acce55"))
