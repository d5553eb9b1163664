"""Registries that take no manifests of docker's kind: a push finds out before the bytes where it can."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support.memory_models import MODEL, NAME, A, Model, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import HOST, FlowPlayer, refuse, response

from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason, TransportError
from ollama_push.core.facts import Advice, Operation, RefusedRequest
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.effects import KeepLessons
from ollama_push.core.registry.flows.plan import plan_flow
from ollama_push.core.registry.flows.push import push_flow
from ollama_push.core.registry.knowledge import LessonBook, Lessons
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.responses import BufferedResponse

ZOT: Final = {"access-control-allow-headers": "Authorization,content-type,X-ZOT-API-CLIENT"}
NO: Final = refuse(415, "MANIFEST_INVALID", "manifest invalid")
EARLY: Final = f"PUT /v2/{NAME.repository}/manifests/{MODEL.manifest.digest}"


def _registry(no: BufferedResponse | TransportError, *, is_zot: bool) -> FlowPlayer:
    """Return a player of ``MODEL`` against a registry that answers *no* to every manifest that is put."""
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.method == "PUT" and "/manifests/" in request.url:
            return no
        given = registry(request, body)
        if is_zot and isinstance(given, BufferedResponse) and "/manifests/" in request.url:
            return response(given.status, {**given.headers, **ZOT}, given.body)
        return given

    return MODEL.player(peer)


def _fail(player: FlowPlayer, lessons: LessonBook | None = None) -> PushRejected:
    flow = push_flow(
        player.exchange, NAME, MODEL.manifest, sizes=PartSizes(HOST, None, lessons), concurrency=1, verify=True
    )
    with pytest.raises(PushRejected) as caught:
        player.play(flow)
    return caught.value


def test_a_zot_is_asked_before_the_bytes() -> None:
    player = _registry(NO, is_zot=True)
    error = _fail(player)
    assert error.reason is RejectionReason.REGISTRY_REFUSED
    assert error.facts == RefusedRequest(Operation.PUSH_MANIFEST, 415, ("MANIFEST_INVALID",), MODEL.manifest.media_type)
    assert error.facts.advice is Advice.TAKE_DOCKER_MANIFESTS
    assert player.asked[-1] == EARLY
    assert not any(asked.startswith(("POST", "PATCH")) for asked in player.asked)
    assert player.requests[-1].body == b"{}", "nothing that could be stored"


def test_any_other_registry_is_asked_after_the_bytes_and_before_them_the_next_time() -> None:
    first = _registry(NO, is_zot=False)
    assert _fail(first).facts is not None
    assert EARLY not in first.asked
    assert any(asked.startswith("POST") for asked in first.asked)
    (kept,) = first.of(KeepLessons)
    assert kept.lessons == Lessons(oci_only=True)
    second = _registry(NO, is_zot=False)
    _fail(second, LessonBook(kept.lessons))
    assert second.asked[-1] == EARLY
    assert not any(asked.startswith("POST") for asked in second.asked)


def test_a_registry_that_takes_them_by_now_is_believed() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        early = request.method == "PUT" and request.url.endswith(MODEL.manifest.digest)
        return refuse(400, "DIGEST_INVALID") if early else registry(request, body)

    player, book = MODEL.player(peer), LessonBook(Lessons(oci_only=True))
    flow = push_flow(
        player.exchange, NAME, MODEL.manifest, sizes=PartSizes(HOST, None, book), concurrency=1, verify=True
    )
    assert player.play(flow).verified
    assert player.of(KeepLessons)[-1].lessons == Lessons()
    assert MODEL.is_at(registry)


@pytest.mark.parametrize("no", [response(401), response(403), response(503)], ids=repr)
def test_a_question_that_is_not_answered_ends_nothing(no: BufferedResponse) -> None:
    player = _registry(no, is_zot=True)
    flow = push_flow(player.exchange, NAME, MODEL.manifest, sizes=PartSizes(HOST), concurrency=1, verify=True)
    with pytest.raises(OllamaPushError):
        player.play(flow)
    assert any(asked.startswith("POST") for asked in player.asked), "the blobs were sent"


def test_a_manifest_of_oci_s_kind_is_not_asked_about() -> None:
    raw = MODEL.manifest.raw.replace(b"{", b'{"mediaType":"application/vnd.oci.image.manifest.v1+json",', 1)
    model, registry = Model(Manifest.parse(raw), MODEL.blobs), MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        given = registry(request, body)
        assert isinstance(given, BufferedResponse)
        return response(given.status, {**given.headers, **ZOT}, given.body)

    player = model.player(peer)
    push(player, model)
    assert sum(asked.startswith("PUT") and "/manifests/" in asked for asked in player.asked) == 1
    assert model.is_at(registry)


def test_a_manifest_of_oci_s_kind_that_is_refused_is_no_lesson() -> None:
    raw = b'{"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}'
    model = Model(Manifest.parse(raw), {})
    player = model.player(lambda request, _: NO if request.method == "PUT" else response(404))
    with pytest.raises(PushRejected) as caught:
        push(player, model)
    assert isinstance(caught.value.facts, RefusedRequest)
    assert caught.value.facts.advice is None
    assert player.of(KeepLessons) == []


def test_a_model_that_is_there_is_not_asked_about() -> None:
    registry = MemoryRegistry()
    push(MODEL.player(registry), MODEL)

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        assert request.method in ("HEAD", "GET")
        given = registry(request, body)
        assert isinstance(given, BufferedResponse)
        return response(given.status, {**given.headers, **ZOT}, given.body)

    push(MODEL.player(peer), MODEL)


def test_a_dry_run_finds_out_too() -> None:
    player = _registry(NO, is_zot=True)
    with pytest.raises(PushRejected) as caught:
        player.play(plan_flow(player.exchange, NAME, MODEL.manifest, concurrency=1))
    assert caught.value.facts is not None
    assert caught.value.facts.advice is Advice.TAKE_DOCKER_MANIFESTS
    other = _registry(NO, is_zot=False)
    assert other.play(plan_flow(other.exchange, NAME, MODEL.manifest, concurrency=1)).missing_bytes > len(A)
