"""A push that is to be private: nobody may read it without a login, before it and after it."""

from __future__ import annotations

import pytest
from tests.support.blobs import noise
from tests.support.memory_models import Model
from tests.support.memory_registry import Deviations, MemoryRegistry
from tests.support.scripted_flow import FlowPlayer, response

from ollama_push.core.errors import InvalidSetting, OllamaPushError, PushRejected, ServerError, VerificationFailed
from ollama_push.core.facts import VerificationProblem
from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.credentials import AccessToken
from ollama_push.core.registry.flows.privacy import require_private_host
from ollama_push.core.registry.flows.push import push_flow
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import RetryPolicy

HOST = "registry.ollama.ai"
NAME = ModelName.parse("me/llama:v1")
MODEL = Model.of(noise(2_000, 1), noise(10, 2))


class Ollamas(MemoryRegistry):
    """Ollama's registry: who has no login sees what is public.

    Args:
        knows_private: Whether ``?private=1`` makes a new repository private.
        answers: What those without a login get for a manifest, one after the other; then the truth.
    """

    def __init__(self, *, knows_private: bool = True, answers: tuple[int, ...] = ()) -> None:
        super().__init__(Deviations(relative=True))
        self.knows_private = knows_private
        self.answers = list(answers)
        self.is_private = False
        self.requests: list[HttpRequest] = []

    def __call__(self, request: HttpRequest, body: bytes) -> BufferedResponse:
        self.requests.append(request)
        is_manifest = "/manifests/" in request.url
        if "Authorization" not in request.headers:
            if is_manifest and request.method == "GET" and self.answers:
                return response(self.answers.pop(0))
            if not is_manifest or self.is_private or not self.manifests:
                return response(401, {"www-authenticate": f'Bearer realm="https://{HOST}/token"'})
        if is_manifest and request.method == "PUT":
            self.is_private = self.is_private or (self.knows_private and request.url.endswith("?private=1"))
        given = super().__call__(request, body)
        assert isinstance(given, BufferedResponse)
        return given


def push(registry: Ollamas) -> FlowPlayer:
    player = FlowPlayer(
        registry,
        blobs=MODEL.blobs.items(),
        credentials={HOST: AccessToken("t0ken")},
        host=HOST,
        retry=RetryPolicy(attempts=3),
    )
    sizes = PartSizes(HOST)
    player.play(push_flow(player.exchange, NAME, MODEL.manifest, sizes=sizes, concurrency=2, verify=True, private=True))
    return player


def test_a_private_push_is_asked_for_with_the_manifest_and_hidden_from_others() -> None:
    registry = Ollamas()
    push(registry)
    assert registry.is_private
    puts = [request.url for request in registry.requests if request.method == "PUT" and "/manifests/" in request.url]
    assert puts == [f"https://{HOST}/v2/me/llama/manifests/v1?private=1"]
    assert "Authorization" not in registry.requests[0].headers
    assert "Authorization" not in registry.requests[-1].headers


def test_a_model_that_anybody_can_read_is_not_pushed_at_all() -> None:
    registry = Ollamas()
    registry.manifests["me/llama", "v1"] = ("x", b"{}")
    with pytest.raises(VerificationFailed) as caught:
        push(registry)
    assert caught.value.problem is VerificationProblem.PUBLIC
    assert "me/llama:v1" in str(caught.value), "which name anybody can read"
    assert "manifest" in registry.requests[0].headers["Accept"]
    assert [request.method for request in registry.requests] == ["GET"]


def test_a_registry_that_published_it_nevertheless_is_no_success() -> None:
    with pytest.raises(VerificationFailed) as caught:
        push(Ollamas(knows_private=False))
    assert caught.value.problem is VerificationProblem.PUBLIC


@pytest.mark.parametrize(("answers", "kind"), [((503,) * 9, ServerError), ((400,), PushRejected)])
def test_what_cannot_be_found_out_is_no_success(answers: tuple[int, ...], kind: type[OllamaPushError]) -> None:
    registry = Ollamas(answers=answers)
    with pytest.raises(kind):
        push(registry)
    assert all(request.method == "GET" for request in registry.requests)


def test_a_question_that_fails_once_is_asked_again() -> None:
    registry = Ollamas(answers=(503, 404))
    push(registry)
    assert registry.is_private


def test_no_other_registry_is_asked_to_keep_anything_private() -> None:
    require_private_host(NAME)
    with pytest.raises(InvalidSetting, match=r"ghcr\.io decides itself who may read"):
        require_private_host(ModelName.parse("ghcr.io/me/llama"))
