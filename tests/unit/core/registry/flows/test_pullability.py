"""What a registry is asked to find out whether a stock pull gets a model, and what its responses mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from tests.support.blobs import digest_of
from tests.support.memory_models import MODEL, NAME, A, Model, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import HOST, ORIGIN, FlowPlayer, Responder, response

from ollama_push.core.errors import ConnectionLost, ServerError, TransportError, VerificationFailed
from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.pullability import Pullability, PullObstacle, PullProblem
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.flows.plan import plan_flow
from ollama_push.core.registry.flows.pullability import pullability_flow
from ollama_push.core.registry.flows.push import push_flow
from ollama_push.core.registry.flows.verify import verify_flow
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import RetryPolicy

P = PullProblem
ONE = Model.of(A)
DIGEST = digest_of(A)
STORE = "https://store.test/blob?signed=1"
ME = {HOST: Login("ann", "s3cret")}
REDIRECTED = response(307, {"location": STORE})
BEARER = f'Bearer realm="{ORIGIN}/token",service="s",scope="repository:me/llama:pull"'


def _large(*, media_type: str = "", size: int = 200_000_000) -> Model:
    layer = {"digest": DIGEST, "size": size, "mediaType": media_type}
    return Model(Manifest.parse(json.dumps({"layers": [layer]}).encode()), {})


@attrs.define
class Peer:
    """A registry that holds a model, and responds to the ``GET`` of its blobs as it is told."""

    model: Model = ONE
    blob: BufferedResponse = attrs.field(factory=lambda: response(307, {"location": STORE}))
    stored: BufferedResponse = attrs.field(factory=lambda: response(206, {}, b"x"))
    head: BufferedResponse = attrs.field(factory=lambda: response(200, {"content-length": str(len(A))}))
    manifest: BufferedResponse | None = None
    challenge: str = ""
    token: BufferedResponse = attrs.field(factory=lambda: response(200, {}, b'{"token":"t"}'))
    accepts: str = "Bearer t"
    elsewhere: Mapping[str, BufferedResponse] = attrs.field(factory=dict)

    def __call__(self, request: HttpRequest, _body: bytes) -> BufferedResponse | TransportError:
        if request.url in self.elsewhere:
            return self.elsewhere[request.url]
        if request.url.startswith(f"{ORIGIN}/token"):
            assert "Authorization" not in request.headers
            return self.token
        if request.url == STORE:
            assert "Authorization" not in request.headers
            return self.stored
        if self.challenge and request.headers.get("Authorization") != self.accepts:
            return response(401, {"www-authenticate": self.challenge})
        if "/manifests/" in request.url:
            return self.manifest or response(200, {}, self.model.manifest.raw)
        return self.head if request.method == "HEAD" else self.blob


def look(peer: Responder, model: Model | None = ONE, **more: Any) -> tuple[Pullability, FlowPlayer]:
    player = (model or ONE).player(peer, credentials=ME, **more)
    manifest = None if model is None else model.manifest
    return player.play(pullability_flow(player.exchange, NAME, manifest, concurrency=2)), player


def problems(found: Pullability) -> list[PullProblem]:
    return [each.problem for each in found.obstacles]


@pytest.mark.parametrize("model", [ONE, None], ids=["local", "not local"])
def test_a_redirect_to_another_host_is_all_that_a_pull_wants(model: Model | None) -> None:
    found, player = look(Peer(), model)
    assert (found.is_pullable, found.obstacles, found.asked_blobs) == (True, (), 1)
    blob = f"/v2/me/llama/blobs/{DIGEST}"
    assert player.asked == ["GET /v2/me/llama/manifests/v1", f"GET {blob}", f"HEAD {blob}"]
    assert player.requests[0].headers["Accept"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert player.requests[1].headers["Range"] == "bytes=0-0"


def test_no_login_of_ours_is_shown() -> None:
    found, player = look(Peer(challenge='Basic realm="staff"'))
    assert found.obstacles == (PullObstacle(P.LOGIN),)
    assert not [request for request in player.requests if "Authorization" in request.headers]


@pytest.mark.parametrize("size", [None, 200_000_000])
@pytest.mark.parametrize(
    ("blob", "obstacle"),
    [
        (response(200), PullObstacle(P.NO_REDIRECT, digest=DIGEST)),
        (response(206), PullObstacle(P.NO_REDIRECT, digest=DIGEST)),
        (response(416), PullObstacle(P.NO_REDIRECT, digest=DIGEST)),
        (response(302, {"location": STORE}), PullObstacle(P.REDIRECT_STATUS, status=302, digest=DIGEST)),
        (response(307), PullObstacle(P.NOT_SERVED, status=307, digest=DIGEST)),
        (response(403), PullObstacle(P.NOT_SERVED, status=403, digest=DIGEST)),
        (response(404), PullObstacle(P.NOT_SERVED, status=404, digest=DIGEST)),
    ],
)
def test_anything_else_is_an_end(blob: BufferedResponse, obstacle: PullObstacle, size: int | None) -> None:
    model = ONE if size is None else _large(size=size)
    found, _ = look(Peer(model, blob), model)
    # Without ranges, what is large fails a second time.
    assert obstacle in found.obstacles
    assert found.is_pullable is False


def test_redirects_within_the_own_host_name_are_followed_and_are_not_enough() -> None:
    own = f"https://{HOST.partition(':')[0]}:8443/blob"
    peer = Peer(blob=response(307, {"location": own}), elsewhere={own: response(206)})
    found, player = look(peer)
    assert found.obstacles == (PullObstacle(P.REDIRECT_TO_ITSELF, digest=DIGEST),)
    assert player.requests[2].url == own


def test_what_is_redirected_within_and_then_away_is_pulled() -> None:
    own = f"{ORIGIN}/blob"
    peer = Peer(blob=response(302, {"location": "/blob"}), elsewhere={own: response(307, {"location": STORE})})
    assert look(peer)[0].is_pullable is True


def test_redirects_in_a_circle_end() -> None:
    found, player = look(Peer(blob=response(307, {"location": f"/v2/me/llama/blobs/{DIGEST}"})))
    assert found.obstacles == (PullObstacle(P.NOT_SERVED, status=307, digest=DIGEST),)
    assert len(player.requests) == 13


@pytest.mark.parametrize(("stored", "problem"), [(response(206), []), (response(200), [P.NO_RANGES])])
def test_a_large_blob_must_come_in_ranges(stored: BufferedResponse, problem: list[PullProblem]) -> None:
    model = _large()
    found, player = look(Peer(model, stored=stored), model)
    assert problems(found) == problem
    assert STORE in [request.url for request in player.requests]


def test_where_we_must_not_go_a_pull_may() -> None:
    model = _large()
    found, player = look(Peer(model, blob=response(307, {"location": "https://169.254.169.254/x"})), model)
    assert found.is_pullable is True
    assert not [request for request in player.requests if "169.254" in request.url]


@pytest.mark.parametrize("length", [{}, {"content-length": "0"}])
def test_a_pull_needs_the_size(length: dict[str, str]) -> None:
    assert problems(look(Peer(head=response(200, length)))[0]) == [P.NO_SIZE]


def test_tensors_come_without_a_redirect() -> None:
    model = _large(media_type="application/vnd.ollama.image.tensor", size=5)
    found, _ = look(Peer(model, response(206)), model)
    assert (problems(found), found.is_pullable) == ([P.TENSORS], True)


def test_plain_http_must_be_said() -> None:
    found, _ = look(lambda _request, _body: response(404), ONE, plain_http=True)
    assert (problems(found), found.is_pullable) == ([P.PLAIN_HTTP], None)


@pytest.mark.parametrize(
    ("challenge", "obstacle"),
    [
        ("", PullObstacle(P.LOGIN)),
        ("Bearer service=s", PullObstacle(P.LOGIN)),
        (f'Basic realm="x", {BEARER}', PullObstacle(P.LOGIN)),
        ('Bearer realm="https://auth.test/token"', PullObstacle(P.FOREIGN_REALM, "auth.test")),
        ('Bearer realm="/token"', PullObstacle(P.FOREIGN_REALM)),
        ('Bearer realm="https://[/token"', PullObstacle(P.FOREIGN_REALM)),
    ],
)
def test_a_realm_must_be_on_the_own_host(challenge: str, obstacle: PullObstacle) -> None:
    def peer(_request: HttpRequest, _body: bytes) -> BufferedResponse:
        return response(401, {"www-authenticate": challenge})

    found, player = look(peer)
    assert found.obstacles == (obstacle,)
    assert len(player.requests) == 1


def test_a_login_that_only_the_size_wants_changes_nothing() -> None:
    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        return response(401) if request.method == "HEAD" else Peer()(request, body)

    assert look(peer)[0].is_pullable is True


def test_a_token_that_anybody_gets_is_used() -> None:
    found, player = look(Peer(challenge=BEARER))
    assert found.is_pullable is True
    assert "GET /token?service=s&scope=repository%3Ame%2Fllama%3Apull" in player.asked
    assert player.requests[-1].headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("token", "accepts", "status"),
    [
        (response(403), "Bearer t", 403),
        (response(200), "Bearer t", 200),
        (response(200, {}, b'{"token":"t"}'), "", 401),
    ],
    ids=["refused", "none", "not accepted"],
)
def test_a_realm_that_wants_to_know_who_asks_wants_a_key(token: BufferedResponse, accepts: str, status: int) -> None:
    found, _ = look(Peer(challenge=BEARER, token=token, accepts=accepts))
    assert (found.obstacles, found.is_pullable) == ((PullObstacle(P.KEY, status=status),), None)


def test_a_login_that_only_blobs_want_is_found() -> None:
    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        return Peer()(request, body) if "/manifests/" in request.url else response(401)

    assert problems(look(peer)[0]) == [P.LOGIN]


def test_a_model_that_is_not_there_is_told_as_far_as_its_blobs_are() -> None:
    found, _ = look(Peer(manifest=response(404), blob=response(206)))
    assert (problems(found), found.asked_blobs) == ([P.NO_REDIRECT], 1)
    with pytest.raises(VerificationFailed, match=str(NAME)):
        look(Peer(manifest=response(404)), None)


def test_a_manifest_that_is_refused_or_none_is_told() -> None:
    found, _ = look(Peer(manifest=response(403)), None)
    assert found.obstacles == (PullObstacle(P.NOT_SERVED, status=403),)
    with pytest.raises(VerificationFailed):
        look(Peer(manifest=response(200, {}, b"no")), None)


def test_what_fails_is_asked_again_and_then_an_error() -> None:
    retry = RetryPolicy(attempts=2, base=1.0)
    with pytest.raises(ServerError):
        look(lambda _request, _body: response(503), retry=retry)
    with pytest.raises(ConnectionLost):
        look(lambda _request, _body: ConnectionLost(ORIGIN), retry=retry)


def test_a_dry_run_and_a_verification_ask_when_they_are_told_to() -> None:
    registry = MemoryRegistry()
    plan = plan_flow((player := ONE.player(registry)).exchange, NAME, ONE.manifest, concurrency=2, pullability=True)
    assert player.play(plan).pullability == Pullability([], 0)
    push(ONE.player(registry), ONE)
    check = verify_flow((player := ONE.player(registry)).exchange, NAME, None, concurrency=2, pullability=True)
    found = player.play(check).pullability
    assert found is not None
    assert problems(found) == [P.NO_REDIRECT]


def test_a_dry_run_does_not_end_because_of_it() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        fails = request.method == "GET" and "/manifests/" in request.url
        return response(500) if fails else registry(request, body)

    player = ONE.player(peer, retry=RetryPolicy(attempts=1))
    plan = player.play(plan_flow(player.exchange, NAME, ONE.manifest, concurrency=2, pullability=True))
    assert plan.pullability is None


OTHER_REALM = 'Bearer realm="https://auth.test/token"'


def _push_with_login(challenge: str, blob: BufferedResponse | None = None, *, force: bool = False) -> Pullability:
    """Push with a login; reads are *challenge*d without one, where it is not empty, and writes always are."""
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if "/token" in request.url:
            return response(200, {}, b'{"token":"t"}')
        if request.url == STORE:
            return response(206, {"content-range": f"bytes 0-0/{len(A)}"})
        wants = challenge if request.method in ("GET", "HEAD") else (challenge or 'Basic realm="r"')
        if wants and "Authorization" not in request.headers:
            return response(401, {"www-authenticate": wants})
        if blob is not None and request.method == "GET" and "/blobs/" in request.url:
            return blob
        return registry(request, body)

    player = ONE.player(peer, credentials=ME)
    flow = push_flow(
        player.exchange, NAME, ONE.manifest, sizes=PartSizes(HOST), concurrency=2, verify=True, force=force
    )
    found = player.play(flow).pullability
    assert len([asked for asked in player.asked if asked.startswith("GET /v2/me/llama/blobs")]) == 1
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("challenge", "blob", "verdict", "stops"),
    [
        ("", None, False, [P.NO_REDIRECT]),
        ("", REDIRECTED, True, []),
        ('Basic realm="r"', REDIRECTED, False, [P.LOGIN]),
        (OTHER_REALM, None, False, [P.FOREIGN_REALM, P.NO_REDIRECT]),
        (BEARER, None, False, [P.NO_REDIRECT]),
        (BEARER, REDIRECTED, None, []),
    ],
    ids=["free", "free, redirected", "login", "realm elsewhere", "own realm", "own realm, redirected"],
)
def test_a_push_tells_what_it_has_seen_and_asks_nothing_more(
    challenge: str, blob: BufferedResponse | None, *, verdict: bool | None, stops: list[PullProblem]
) -> None:
    found = _push_with_login(challenge, blob)
    assert (found.is_pullable, problems(found)) == (verdict, stops)


def test_a_push_that_did_not_look_first_knows_less() -> None:
    assert _push_with_login('Basic realm="r"', REDIRECTED, force=True).is_pullable is None


def test_a_model_without_blobs_is_not_known_to_be_pulled() -> None:
    empty = Model(Manifest.parse(b'{"layers":[]}'), {})
    assert push(empty.player(MemoryRegistry()), empty).pullability == Pullability([], 0)


def test_a_read_back_sees_redirects() -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.method == "GET" and request.url.endswith(digest_of(A)):
            return response(307, {"location": STORE})
        if request.url == STORE:
            return response(206, {"content-range": f"bytes 0-0/{len(A)}"}, A[:1])
        return registry(request, body)

    found = push(MODEL.player(peer), MODEL).pullability
    assert found is not None
    # The two others are sent at once.
    assert found.obstacles == (PullObstacle(P.NO_REDIRECT, digest=[*MODEL.blobs][1]),)


def test_a_tag_is_part_of_the_name() -> None:
    name = ModelName.parse(f"{HOST}/me/llama:v2")
    player = ONE.player(Peer())
    player.play(pullability_flow(player.exchange, name, ONE.manifest, concurrency=1))
    assert player.asked[0] == "GET /v2/me/llama/manifests/v2"
