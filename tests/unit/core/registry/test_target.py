"""What a push straight to a registry may be called, where layers are mounted from, and what a token must allow."""

from __future__ import annotations

import pytest
from tests.support.blobs import noise
from tests.support.memory_models import NAME, Model
from tests.support.scripted_flow import HOST, FlowPlayer, responses

from ollama_push.core.errors import ConnectCause, ConnectFailed, InvalidModelName, OllamaPushError
from ollama_push.core.names import ModelName
from ollama_push.core.registry.flows.verify import verify_flow
from ollama_push.core.registry.manifests import Descriptor
from ollama_push.core.registry.target import direct_name, mount_source, scopes_for

A, B = noise(10, 1), noise(20, 2)


@pytest.mark.parametrize("text", ["reg.test/a/b", "https://reg.test/a/b:c", "a/b"])
def test_a_name_that_registries_take(text: str) -> None:
    assert direct_name(text, plain_http=False) == ModelName.parse(text)
    assert direct_name(ModelName.parse(text), plain_http=False) == ModelName.parse(text)


@pytest.mark.parametrize(
    ("text", "plain_http", "problem"),
    [
        ("http://reg.test/a/b", False, "leave http:// out"),
        ("https://reg.test/a/b", True, "contradicts plain HTTP"),
        ("ftp://reg.test/a/b", False, "not ftp://"),
        ("reg.test/A/b", False, "lower case"),
    ],
)
def test_a_name_that_is_refused_before_anything_is_asked(text: str, plain_http: bool, problem: str) -> None:  # noqa: FBT001 - a table's column
    for name in (text, ModelName.parse(text)):
        with pytest.raises(InvalidModelName, match=problem):
            direct_name(name, plain_http=plain_http)


def test_plain_http_in_the_name_and_in_the_question_agree() -> None:
    assert direct_name("http://reg.test/a/b", plain_http=True).host == "reg.test"


@pytest.mark.parametrize(
    ("source", "repository"),
    [
        ("reg.test:5000/me/base:v1", "me/base"),
        ("REG.test:5000/me/base", "me/base"),
        ("reg.test:5000/me/llama:other", ""),
        ("other.test/me/base", ""),
        ("base", ""),
        ("reg.test:5000/Me/base", ""),
        ("/no/name/at all", ""),
        ("", ""),
    ],
)
def test_where_a_layer_can_be_mounted_from(source: str, repository: str) -> None:
    assert mount_source(Descriptor("sha256:a", 1, "", source), NAME) == repository


def test_scopes_hold_what_a_push_needs() -> None:
    model = Model.of(A, B, **{"from": f"{HOST}/me/base"})
    assert scopes_for(NAME) == scopes_for(NAME, Model.of(A).manifest) == ("repository:me/llama:pull,push",)
    assert scopes_for(NAME, model.manifest) == ("repository:me/llama:pull,push", "repository:me/base:pull")


@pytest.mark.parametrize("host", ["reg.test:99999", "reg.test:0", "a..b"])
def test_a_host_nobody_can_connect_to_is_a_verdict(host: str) -> None:
    player = FlowPlayer(responses(ConnectFailed(f"https://{host}", ConnectCause.OTHER)), host=host)
    with pytest.raises(OllamaPushError):
        player.play(verify_flow(player.exchange, direct_name(f"{host}/a/b", plain_http=False), None, concurrency=1))
