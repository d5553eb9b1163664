"""A whole push against a registry in memory: what is asked in which order, what is skipped, what is kept."""

from __future__ import annotations

from typing import Any, Final

import attrs
import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.memory_models import MODEL, NAME, REPOSITORY, A, B, C, Model, changing, holding, push
from tests.support.memory_registry import Deviations, Fault, MemoryRegistry
from tests.support.scripted_flow import HOST, DictMemory, refuse, response, responses

from ollama_push.core.errors import (
    ConnectionLost,
    PushInterrupted,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
)
from ollama_push.core.events import LayerProgress, PushPlanned, StatusChanged
from ollama_push.core.ports import HttpRequest
from ollama_push.core.pullability import Pullability, PullObstacle, PullProblem
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.effects import KeepStored
from ollama_push.core.registry.flows.push import (
    Delivery,
    push_flow,
)
from ollama_push.core.responses import BufferedResponse

REPO: Final = f"/v2/{REPOSITORY}"


def _sent_at_once(blobs: int) -> Pullability:
    return Pullability([PullObstacle(PullProblem.NO_REDIRECT, digest=digest_of(A))], blobs)


DELIVERED: Final = Delivery(0, 0, verified=True, pullability=_sent_at_once(3))


def test_everything_is_asked_in_order() -> None:
    registry = MemoryRegistry()
    player = MODEL.player(registry)
    assert push(player, MODEL, concurrency=1) == DELIVERED
    a, b, c = MODEL.blobs
    uploads = f"{REPO}/blobs/uploads/"
    heads = [f"HEAD {REPO}/blobs/{each}" for each in (a, b, c)]
    reads = [f"GET {REPO}/blobs/{each}" for each in (a, b, c)]
    assert player.asked == [
        f"HEAD {REPO}/manifests/v1",
        *heads,
        f"POST {uploads}",
        f"PUT {uploads}s1?_state=0&digest={a}",
        f"POST {uploads}",
        f"PUT {uploads}s2?_state=0&digest={b}",
        f"POST {uploads}",
        f"PUT {uploads}s3?_state=0&digest={c}",
        f"PUT {REPO}/manifests/v1",
        f"GET {REPO}/manifests/v1",
        *reads,
    ]
    assert MODEL.is_at(registry)
    assert player.most_at_once == 1


def test_the_total_is_told_first_and_the_phases_in_order() -> None:
    player = MODEL.player(holding(B))
    push(player, MODEL, concurrency=1)
    a, b, c = MODEL.blobs
    events = player.events
    assert events[0] == PushPlanned(1_102_000)
    assert [event.status for event in events if isinstance(event, StatusChanged)] == ["pushing manifest", "verifying"]
    assert [(event.digest, event.completed) for event in events if isinstance(event, LayerProgress)] == [
        (b, 2_000), (a, 0), (a, 1_100_000), (c, 0), (c, 0),
    ]  # fmt: skip


def test_blobs_go_side_by_side_as_many_as_allowed() -> None:
    player = MODEL.player(MemoryRegistry())
    push(player, MODEL, concurrency=2)
    assert player.most_at_once == 3, "the manifest is asked for beside the blobs"


def test_the_manifest_goes_as_it_is() -> None:
    player = MODEL.player(MemoryRegistry())
    push(player, MODEL)
    (put,) = [request for request in player.requests if request.method == "PUT" and "/manifests/" in request.url]
    assert put.body == MODEL.manifest.raw
    assert put.headers["Content-Type"] == MODEL.manifest.media_type


def test_what_is_there_is_not_sent() -> None:
    player = MODEL.player(holding(A, C))
    assert push(player, MODEL).skipped_bytes == len(A)
    assert sum("POST" in asked for asked in player.asked) == 1


def test_a_second_push_only_asks() -> None:
    player = MODEL.player(holding(A, B, C, manifest=True))
    assert push(player, MODEL, verify=False) == Delivery(1_102_000, 0, verified=False)
    assert {request.method for request in player.requests} == {"HEAD"}


def test_a_tag_that_means_another_model_is_moved() -> None:
    registry = holding(A, B, C)
    registry.manifests[REPOSITORY, "v1"] = ("m", b"{}")
    push(MODEL.player(registry), MODEL)
    assert MODEL.is_at(registry)


def test_a_mounted_blob_was_not_sent() -> None:
    model = Model.of(A, **{"from": f"{HOST}/me/base:v1"})
    registry = MemoryRegistry()
    registry.blobs["me/base", digest_of(A)] = A
    assert push(model.player(registry), model) == Delivery(len(A), 0, verified=True, pullability=_sent_at_once(1))
    assert model.is_at(registry)


def test_a_model_without_blobs_is_a_manifest() -> None:
    model, registry = Model.of(), MemoryRegistry()
    push(model.player(registry), model)
    assert model.is_at(registry)


def test_missing_permission_shows_before_any_byte_is_sent() -> None:
    player = MODEL.player(responses(*[response(404)] * 4, *[refuse(403, "DENIED")] * 2))
    with pytest.raises(PushRejected) as caught:
        push(player, MODEL)
    assert caught.value.reason is RejectionReason.UNAUTHORIZED
    assert player.asked[-1].startswith("POST")


def test_a_manifest_that_is_refused() -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return (
            refuse(400, "MANIFEST_BLOB_UNKNOWN") if request.method == "PUT" and "/manifests/" in request.url else None
        )

    with pytest.raises(PushRejected, match="pushing the manifest") as caught:
        push(changing(MemoryRegistry(), change), MODEL)
    assert caught.value.reason is RejectionReason.BLOB_UNKNOWN


def test_one_blob_that_fails_ends_the_others_and_says_why() -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return response(507) if f"digest={digest_of(B)}" in request.url else None

    player = changing(MemoryRegistry(), change)
    with pytest.raises(PushRejected) as caught:
        push(player, MODEL, part=100_000, concurrency=3)
    assert caught.value.reason is RejectionReason.REGISTRY_FULL
    assert player.memory.claimed == set()
    assert len(player.asked) < 15


def _stopped(when: str, registry: MemoryRegistry | None = None, memory: DictMemory | None = None) -> PushInterrupted:
    registry = registry or MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> Any:
        player.interrupted = player.interrupted or f"{request.method} {request.url}".startswith(when)
        return registry(request, body)

    player = MODEL.player(peer, memory)
    with pytest.raises(PushInterrupted) as caught:
        push(player, MODEL, part=400_000, concurrency=1)
    return caught.value


def test_a_push_that_was_stopped_says_what_is_kept() -> None:
    registry = holding(B)
    stopped = _stopped("PATCH", registry)
    assert (stopped.kept_bytes, stopped.total_bytes) == (402_000, 1_102_000)


def test_what_was_kept_is_counted_when_it_is_taken_up() -> None:
    registry, memory = MemoryRegistry(), DictMemory()
    _stopped("PATCH", registry, memory)
    player = MODEL.player(registry, memory)
    assert push(player, MODEL) == attrs.evolve(DELIVERED, resumed_bytes=400_000)


def test_a_push_that_was_stopped_after_its_last_blob_names_no_manifest() -> None:
    registry = holding(A, C)
    stopped = _stopped("PUT", registry)
    assert stopped.kept_bytes == stopped.total_bytes
    assert registry.manifests == {}


@pytest.mark.parametrize("fault", [0, 4, 5, 6])
def test_a_push_that_is_stopped_while_it_only_asks_says_what_is_there(fault: int) -> None:
    registry = holding(A, B, C)
    registry.faults = {fault: (Fault.RESET, 0)}

    def peer(request: HttpRequest, body: bytes) -> Any:
        given = registry(request, body)
        player.interrupted = player.interrupted or isinstance(given, ConnectionLost)
        return given

    player = MODEL.player(peer)
    with pytest.raises(PushInterrupted) as caught:
        push(player, MODEL)
    assert caught.value.total_bytes == MODEL.manifest.total_bytes


def _once(fault: BufferedResponse, *, method: str, part: str, times: int = 1) -> Any:
    """Return a registry without the model that answers the first *times* of such requests with *fault*."""
    left = [fault] * times

    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return left.pop() if left and request.method == method and part in request.url else None

    return change


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_was_just_stored_may_show_up_late(method: str) -> None:
    registry = MemoryRegistry()
    player = changing(registry, _once(response(404), method=method, part="/manifests/"))
    assert push(player, MODEL).verified
    player = changing(MemoryRegistry(), _once(response(404), method="GET", part="/blobs/", times=3))
    assert push(player, MODEL).verified
    assert player.waits


def test_blobs_that_were_just_stored_may_be_unknown_for_a_moment() -> None:
    player = changing(MemoryRegistry(), _once(refuse(400, "MANIFEST_BLOB_UNKNOWN"), method="PUT", part="/manifests/"))
    assert push(player, MODEL).verified
    assert player.waits == [1.0]


@pytest.mark.parametrize("named", ["", digest_of(A)])
def test_a_blob_that_the_registry_has_lost_is_sent_when_the_manifest_is_refused(named: str) -> None:
    registry = holding(A, B)

    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        if request.method == "PUT" and "/manifests/" in request.url and registry.received < len(A):
            return refuse(400, "MANIFEST_BLOB_UNKNOWN", named)
        return None

    assert push(changing(registry, change), MODEL) == attrs.evolve(DELIVERED, skipped_bytes=len(B) if named else 0)


def test_a_blob_that_turns_out_to_be_lost_is_sent_after_all() -> None:
    registry = holding(A, B, C, manifest=True)

    def peer(request: HttpRequest, body: bytes) -> Any:
        lost = request.method == "GET" and request.url.endswith(digest_of(A)) and not registry.received
        return ConnectionLost(HOST) if lost else registry(request, body)

    assert push(MODEL.player(peer), MODEL) == attrs.evolve(DELIVERED, skipped_bytes=len(B))
    assert registry.received == len(A)


def test_a_registry_that_cannot_be_read_any_more_is_down() -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return response(503) if request.method == "GET" and "/blobs/sha256" in request.url else None

    with pytest.raises(ServerError):
        push(changing(MemoryRegistry(), change), MODEL)


@pytest.mark.parametrize("part", ["/manifests/", "/blobs/sha256"])
def test_a_login_that_may_not_read_has_pushed(part: str) -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return response(403) if request.method == "GET" and part in request.url else None

    assert push(changing(MemoryRegistry(), change), MODEL) == Delivery(0, 0, verified=False, read_refused=True)


def test_a_manifest_that_was_stored_behind_a_gateway_that_stopped_waiting_is_there() -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return response(504) if request.method == "PUT" and "/manifests/" in request.url else None

    assert push(changing(MemoryRegistry(), change), MODEL).verified


@pytest.mark.parametrize("look", [404, 503])
def test_a_manifest_that_cannot_be_stored_is_an_end(look: int) -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        if "/manifests/" not in request.url:
            return None
        asked.append(request.method)
        return response(504) if request.method == "PUT" else response(look if "PUT" in asked else 404)

    asked: list[str] = []
    with pytest.raises(ServerError, match="504"):
        push(changing(MemoryRegistry(), change), MODEL)


def test_what_is_forced_is_sent_although_it_is_there() -> None:
    registry = holding(A, B, C, manifest=True)
    player = MODEL.player(registry)
    sizes = PartSizes(HOST)
    flow = push_flow(player.exchange, NAME, MODEL.manifest, sizes=sizes, concurrency=2, verify=True, force=True)
    assert player.play(flow) == DELIVERED
    assert registry.received == MODEL.manifest.total_bytes


def test_a_manifest_that_is_refused_after_everything_was_sent_is_an_end() -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        refused = request.method == "PUT" and "/manifests/" in request.url
        return refuse(400, "MANIFEST_BLOB_UNKNOWN" if "unknown" in case else "MANIFEST_INVALID") if refused else None

    for case in ("unknown", "invalid"):
        with pytest.raises(PushRejected, match="pushing the manifest"):
            push(changing(MemoryRegistry() if case == "unknown" else holding(A), change), MODEL)


@pytest.mark.parametrize("source", ["me/base", REPOSITORY])
def test_what_another_repository_may_have_is_asked_for_there_first(source: str) -> None:
    registry = MemoryRegistry()
    registry.blobs["me/base", digest_of(A)] = A
    player = MODEL.player(registry)
    flow = push_flow(
        player.exchange, NAME, MODEL.manifest, sizes=PartSizes(HOST), concurrency=1, verify=True, mount_from=source
    )
    mounted = source == "me/base"
    assert player.play(flow) == attrs.evolve(DELIVERED, skipped_bytes=len(A) if mounted else 0)
    assert sum("from=me/base" in asked for asked in player.asked) == (3 if mounted else 0)
    assert MODEL.is_at(registry)


def test_what_earlier_pushes_gave_to_other_repositories_is_mounted_from_there() -> None:
    registry = MemoryRegistry()
    for blob in (A, B):
        registry.blobs["me/base", digest_of(blob)] = blob
    player = MODEL.player(registry)
    known = {digest_of(A): ["me/base", "me/older"], digest_of(B): [REPOSITORY, "me/base"]}
    flow = push_flow(
        player.exchange, NAME, MODEL.manifest, sizes=PartSizes(HOST), concurrency=1, verify=True, known=known
    )
    delivery = player.play(flow)
    assert (delivery.skipped_bytes, delivery.verified) == (len(A) + len(B), True)
    assert [asked for asked in player.asked if "me/older" in asked] == []
    assert MODEL.is_at(registry)


@pytest.mark.parametrize("verify", [True, False])
def test_what_was_pushed_is_kept_for_later_pushes(*, verify: bool) -> None:
    player = MODEL.player(holding(A))
    push(player, MODEL, verify=verify)
    assert player.of(KeepStored) == [KeepStored(tuple(MODEL.blobs))]


def test_nothing_is_kept_of_a_push_that_failed() -> None:
    player = changing(
        MemoryRegistry(), lambda request, _: refuse(400, "MANIFEST_INVALID") if "/manifests/" in request.url else None
    )
    with pytest.raises(PushRejected):
        push(player, MODEL)
    assert player.of(KeepStored) == []


def test_an_interrupted_push_says_what_has_arrived_in_vain() -> None:
    registry = MemoryRegistry(Deviations(has_status=False))

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        player.interrupted = request.method == "PATCH"
        return registry(request, body)

    player = MODEL.player(peer)
    with pytest.raises(PushInterrupted) as caught:
        push(player, MODEL, part=MIB, concurrency=1)
    assert (caught.value.kept_bytes, caught.value.total_bytes, caught.value.lost_bytes) == (
        0,
        MODEL.manifest.total_bytes,
        MIB,
    )
