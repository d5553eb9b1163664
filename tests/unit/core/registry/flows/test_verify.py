"""What is asked without pushing: a dry run, the look afterwards, a login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.blobs import digest_of
from tests.support.memory_models import MODEL, NAME, REPOSITORY, A, B, C, Model, changing, holding, push
from tests.support.memory_registry import Deviations, MemoryRegistry
from tests.support.scripted_flow import HOST, FlowPlayer, response, responses

from ollama_push.core.errors import (
    ConnectionLost,
    OllamaPushError,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
    VerificationFailed,
    VerificationProblem,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.receipts import PlannedBlob
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.flows.login import login_flow
from ollama_push.core.registry.flows.plan import plan_flow
from ollama_push.core.registry.flows.verify import verify_flow
from ollama_push.core.responses import BufferedResponse


def _plan(player: FlowPlayer) -> Any:
    return player.play(plan_flow(player.exchange, NAME, MODEL.manifest, concurrency=2))


def test_a_plan_says_what_is_missing_and_sends_nothing() -> None:
    registry = holding(A)
    player = MODEL.player(registry)
    plan = _plan(player)
    assert plan.blobs == tuple(PlannedBlob(each, len(blob), present=blob == A) for each, blob in MODEL.blobs.items())
    assert (plan.model, plan.manifest_digest, plan.manifest_present) == (str(NAME), MODEL.manifest.digest, False)
    assert [asked.split()[0] for asked in player.asked] == ["HEAD"] * 4 + ["POST", "DELETE"]
    assert registry.sessions == {}
    assert registry.received == 0


def test_a_plan_with_nothing_to_do_does_not_try_to_write() -> None:
    player = MODEL.player(holding(A, B, C, manifest=True))
    plan = _plan(player)
    assert plan.manifest_present
    assert plan.missing_bytes == 0
    assert {request.method for request in player.requests} == {"HEAD"}


def test_a_plan_finds_out_that_we_may_not() -> None:
    with pytest.raises(PushRejected, match="opening an upload: HTTP 403"):
        _plan(MODEL.player(responses(*[response(404)] * 4, response(403))))


@pytest.mark.parametrize("end", [response(405), response(503), ConnectionLost("h"), response(401)], ids=repr)
def test_a_session_that_cannot_be_cancelled_does_not_matter(end: Any) -> None:
    opened = response(202, {"location": "/u"})
    player = MODEL.player(responses(*[response(404)] * 4, opened, end, response(404)))
    assert _plan(player).missing_bytes == MODEL.manifest.total_bytes
    assert player.asked[5] == "DELETE /u"


@pytest.mark.parametrize("elsewhere", ["https://store.test/u", f"https://{HOST}1/u", f"https://{HOST}@store.test/u"])
def test_nothing_is_deleted_off_the_registrys_origin(elsewhere: str) -> None:
    player = MODEL.player(responses(*[response(404)] * 4, response(202, {"location": elsewhere})))
    assert _plan(player).missing_bytes == MODEL.manifest.total_bytes
    assert [request.method for request in player.requests] == ["HEAD"] * 4 + ["POST"]


@pytest.mark.parametrize("forbidden", [f"http://{HOST}1/u", "https://127.1/u", "https://169.254.169.254/u"])
def test_a_plan_says_that_the_registry_leads_where_it_must_not(forbidden: str) -> None:
    player = MODEL.player(responses(*[response(404)] * 4, response(202, {"location": forbidden})))
    with pytest.raises(PushRejected, match="nothing was sent there"):
        _plan(player)


def test_a_session_without_a_place_is_not_cancelled() -> None:
    player = MODEL.player(responses(*[response(404)] * 4, response(202)))
    assert _plan(player).missing_bytes == MODEL.manifest.total_bytes


def _verify(player: FlowPlayer, *, expected: bool = True) -> Any:
    manifest = MODEL.manifest if expected else None
    return player.play(verify_flow(player.exchange, NAME, manifest, concurrency=2))


@pytest.mark.parametrize("expected", [True, False])
def test_what_is_there_is_proved(expected: bool) -> None:  # noqa: FBT001 - a parameter
    registry = holding(A, B, C, manifest=True)
    proof = _verify(MODEL.player(registry), expected=expected)
    assert (proof.model, proof.manifest_digest, proof.blobs) == (str(NAME), MODEL.manifest.digest, 3)
    assert (proof.total_bytes, proof.matches_local) == (1_102_000, expected)


def test_a_manifest_is_asked_for_by_its_own_type() -> None:
    odd = Model(MODEL.manifest.parse(b'{"layers":[],"mediaType":"x/y"}'), {})
    player = odd.player(responses(response(404)))
    with pytest.raises(VerificationFailed):
        player.play(verify_flow(player.exchange, NAME, odd.manifest, concurrency=1))
    assert player.requests[0].headers["Accept"].startswith("x/y, application/vnd.docker")


def _failed(
    registry: MemoryRegistry,
    change: Callable[[HttpRequest, BufferedResponse], BufferedResponse | None] = lambda *_: None,
) -> Any:
    with pytest.raises(VerificationFailed) as caught:
        _verify(changing(registry, change))
    return caught.value


def test_a_manifest_that_is_not_there() -> None:
    error = _failed(holding(A, B, C))
    assert (error.digest, error.problem) == (MODEL.manifest.digest, VerificationProblem.NO_MANIFEST)
    assert f"the registry has no manifest for {NAME}" in str(error)


def test_a_manifest_that_is_another() -> None:
    registry = holding(A, B, C)
    registry.manifests[REPOSITORY, "v1"] = ("m", b"{}")
    assert f"the registry holds the manifest {digest_of(b'{}')} under that name" in str(_failed(registry))


def test_what_is_no_manifest_is_not_taken_at_its_word() -> None:
    registry = holding()
    registry.manifests[REPOSITORY, "v1"] = ("m", b"{}")
    with pytest.raises(VerificationFailed, match="is no image manifest: it has no list of layers"):
        _verify(MODEL.player(registry), expected=False)


def test_a_blob_that_is_not_there() -> None:
    error = _failed(holding(A, C, manifest=True))
    assert (error.digest, error.problem) == (digest_of(B), VerificationProblem.NO_BLOB)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"content-length": "1999"}, "holds 1999 bytes of it instead of 2000"),
        ({"content-length": "2000", "docker-content-digest": "sha256:x"}, "holds sha256:x in its place"),
    ],
)
def test_a_blob_that_is_another(headers: dict[str, str], problem: str) -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return response(200, headers) if request.url.endswith(digest_of(B)) else None

    error = _failed(holding(A, B, C, manifest=True), change)
    assert error.digest == digest_of(B)
    assert problem in str(error)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {"content-length": "x"}),
        (307, {"content-length": "0"}),
        (200, {"docker-content-digest": digest_of(B)}),
    ],
)
def test_what_a_registry_does_not_say_is_no_lie(status: int, headers: dict[str, str]) -> None:
    def change(request: HttpRequest, _given: BufferedResponse) -> BufferedResponse | None:
        return response(status, headers) if request.url.endswith(digest_of(B)) else None

    assert _verify(changing(holding(A, B, C, manifest=True), change)).matches_local


def _without_head(reading: BufferedResponse, status: int = 405) -> FlowPlayer:
    """Return a player whose registry answers HEAD of B with *status*, and GET with *reading*."""
    registry = holding(A, B, C, manifest=True)

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if not request.url.endswith(digest_of(B)):
            return registry(request, body)
        return response(status) if request.method == "HEAD" else reading

    return MODEL.player(peer)


@pytest.mark.parametrize("status", [400, 405, 501])
@pytest.mark.parametrize("length", [{}, {"content-length": "0"}, {"content-length": "2000"}])
def test_where_no_byte_can_be_read_the_blob_is_looked_for(status: int, length: dict[str, str]) -> None:
    registry = holding(A, B, C, manifest=True)

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if not request.url.endswith(digest_of(B)):
            return registry(request, body)
        return response(status) if request.method == "GET" else response(200, length)

    assert _verify(MODEL.player(peer)).matches_local


@pytest.mark.parametrize("status", [405, 501])
@pytest.mark.parametrize(
    "reading",
    [
        response(206, {"content-length": "1"}, B[:1]),
        response(200, {"content-length": "2000"}),
        response(307, {"location": "ftp://store.test/b"}),
        response(416),
        response(206, {"content-range": "bytes 0-0/2000"}, B[:1]),
    ],
    ids=lambda given: str(given.status) if isinstance(given, BufferedResponse) else None,
)
def test_where_there_is_no_head_a_byte_of_the_blob_is_read(reading: BufferedResponse, status: int) -> None:
    player = _without_head(reading, status)
    assert _verify(player).matches_local
    asked = [request for request in player.requests if request.url.endswith(digest_of(B))]
    assert [(one.method, one.headers.get("Range")) for one in asked] == [("GET", "bytes=0-0")]
    assert {request.method for request in player.requests} == {"GET"}


@pytest.mark.parametrize(
    ("reading", "problem"),
    [
        (response(404), "the registry does not hold it"),
        (response(200, {"content-length": "1999"}), "holds 1999 bytes of it instead of 2000"),
        (response(206, {"content-range": "bytes 0-0/1999"}), "holds 1999 bytes of it instead of 2000"),
        (response(416, {"content-range": "bytes */0"}), "holds 0 bytes of it instead of 2000"),
        (response(206, {"docker-content-digest": "sha256:x"}), "holds sha256:x in its place"),
    ],
)
def test_a_blob_that_is_not_there_is_found_out_without_head(reading: BufferedResponse, problem: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        _verify(_without_head(reading))
    assert caught.value.digest == digest_of(B)
    assert problem in str(caught.value)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_blob_we_may_not_look_at_is_no_missing_one(method: str) -> None:
    with pytest.raises(PushRejected) as caught:
        _verify(_without_head(response(403), 403 if method == "HEAD" else 405))
    assert caught.value.reason is RejectionReason.UNAUTHORIZED


def test_a_registry_that_lies_about_what_it_holds_is_found_out() -> None:
    registry = MemoryRegistry(Deviations())

    def change(request: HttpRequest, given: BufferedResponse) -> BufferedResponse | None:
        registry.blobs.pop((REPOSITORY, digest_of(A)), None)
        return None

    with pytest.raises(VerificationFailed) as caught:
        push(changing(registry, change), MODEL)
    assert caught.value.digest == digest_of(A)


@pytest.mark.parametrize("status", [200, 404])
def test_a_registry_that_wants_no_login_says_so(status: int) -> None:
    player = FlowPlayer(responses(response(status)), repository="", scopes=())
    assert player.play(login_flow(player.exchange)) is False
    assert player.asked == ["GET /v2/"]


def test_a_login_that_is_accepted() -> None:
    wants = response(401, {"www-authenticate": "Basic realm=x"})
    player = FlowPlayer(responses(wants, response(200)), repository="", scopes=(), credentials={HOST: Login("a", "b")})
    assert player.play(login_flow(player.exchange)) is True


def test_a_login_that_is_not_accepted() -> None:
    wants = response(401, {"www-authenticate": "Basic realm=x"})
    player = FlowPlayer(responses(wants, wants), repository="", scopes=(), credentials={HOST: Login("a", "b")})
    with pytest.raises(OllamaPushError, match="does not accept the login of 'a'"):
        player.play(login_flow(player.exchange))


def _unsendable(broken: BufferedResponse | TransportError, head: BufferedResponse | TransportError) -> FlowPlayer:
    """Return a player whose registry answers every ``GET`` of B with *broken*, and ``HEAD`` with *head*."""
    registry = holding(A, B, C, manifest=True)

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if not request.url.endswith(digest_of(B)):
            return registry(request, body)
        return head if request.method == "HEAD" else broken

    return MODEL.player(peer)


BREAKS_OFF = ConnectionLost("https://reg.test", status=206)


@pytest.mark.parametrize("broken", [BREAKS_OFF, response(500)], ids=repr)
@pytest.mark.parametrize("expected", [True, False])
def test_a_blob_that_a_registry_begins_to_send_and_breaks_off_is_not_there(
    broken: BufferedResponse | TransportError, *, expected: bool
) -> None:
    """Distribution with ``blobdescriptor: inmemory``, after the disk has lost the blob."""
    player = _unsendable(broken, response(200, {"content-length": "2000"}))
    with pytest.raises(VerificationFailed, match="says that it has it, and fails whenever it is to send it") as caught:
        _verify(player, expected=expected)
    assert (caught.value.digest, caught.value.problem) == (digest_of(B), VerificationProblem.UNREADABLE)
    assert sum(asked.startswith("GET") and digest_of(B) in asked for asked in player.asked) == 4


@pytest.mark.parametrize(
    ("broken", "head"),
    [
        (ConnectionLost("h"), response(200)),
        (ConnectionLost("h", status=502), response(200)),
        (response(503), response(200)),
        (BREAKS_OFF, ConnectionLost("h")),
        (BREAKS_OFF, response(503)),
        (response(500), response(500)),
    ],
    ids=repr,
)
def test_what_may_be_the_network_says_nothing_of_a_blob(
    broken: BufferedResponse | TransportError, head: BufferedResponse | TransportError
) -> None:
    with pytest.raises((ServerError, ConnectionLost)):
        _verify(_unsendable(broken, head))


def test_a_blob_that_breaks_off_when_it_is_read_back_is_sent_again() -> None:
    registry, lost = holding(A, B, manifest=True), [True]

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.method == "PUT" and digest_of(B) in request.url:
            lost.clear()
        if lost and request.method == "GET" and request.url.endswith(digest_of(B)):
            return BREAKS_OFF
        return registry(request, body)

    player = MODEL.player(peer)
    assert push(player, MODEL).verified
    assert not lost, "it was sent"


def test_another_manifest_than_is_announced_verifies_nothing() -> None:
    """What is looked for would be the blobs of another model."""
    raw = MODEL.manifest.raw
    damaged = response(200, {"docker-content-digest": digest_of(raw)}, raw + b" ")
    player = MODEL.player(responses(damaged))
    with pytest.raises(VerificationFailed) as caught:
        player.play(verify_flow(player.exchange, NAME, None, concurrency=1))
    assert caught.value.problem is VerificationProblem.OTHER_MANIFEST
