"""What a push straight to a registry may be called, where layers are mounted from, and what a token must allow."""

from __future__ import annotations

import re

import pytest
from tests.support.blobs import noise
from tests.support.memory_models import NAME, Model
from tests.support.scripted_flow import HOST, FlowPlayer, responses

from ollama_push.core.errors import ConnectCause, ConnectFailed, InvalidModelName, OllamaPushError
from ollama_push.core.names import ModelName
from ollama_push.core.registry.flows.verify import verify_flow
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.target import (
    RegistryModel,
    RegistryName,
    direct_name,
    is_repository_path,
    mount_sources,
    name_below,
    reading_scope,
    scopes_for,
)

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
    assert mount_sources(Descriptor("sha256:a", 1, "", source), NAME) == ((repository,) if repository else ())


def test_scopes_hold_what_a_push_needs() -> None:
    model = Model.of(A, B, **{"from": f"{HOST}/me/base"})
    assert scopes_for(NAME) == scopes_for(NAME, Model.of(A).manifest) == ("repository:me/llama:pull,push",)
    assert scopes_for(NAME, model.manifest) == ("repository:me/llama:pull,push", "repository:me/base:pull")


@pytest.mark.parametrize("host", ["reg.test:99999", "reg.test:0", "a..b"])
def test_a_host_nobody_can_connect_to_is_a_verdict(host: str) -> None:
    player = FlowPlayer(responses(ConnectFailed(f"https://{host}", ConnectCause.OTHER)), host=host)
    with pytest.raises(OllamaPushError):
        player.play(verify_flow(player.exchange, direct_name(f"{host}/a/b", plain_http=False), None, concurrency=1))


# --- names that registries have and Ollama has not


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag"),
    [
        ("us-docker.pkg.dev/proj/repo/model", "us-docker.pkg.dev", "proj/repo/model", "latest"),
        ("registry.gitlab.com/group/sub/project/model:v1", "registry.gitlab.com", "group/sub/project/model", "v1"),
        ("ghcr.io/my.org/model", "ghcr.io", "my.org/model", "latest"),
        ("[::1]:5000/team/model:v1", "[::1]:5000", "team/model", "v1"),
        ("[fd00::1]/model", "[fd00::1]", "library/model", "latest"),
        ("https://reg.test/a/b/c", "reg.test", "a/b/c", "latest"),
        ("registry.ollama.ai/a/b/c", "registry.ollama.ai", "a/b/c", "latest"),
        (f"reg.test/{'a' * 100}/model:{'t' * 128}", "reg.test", f"{'a' * 100}/model", "t" * 128),
    ],
)
def test_any_repository_of_the_specification_is_a_target(text: str, host: str, repository: str, tag: str) -> None:
    name = direct_name(text, plain_http=False)
    assert (name.host, name.repository, name.tag) == (host, repository, tag)
    assert str(name) == f"{host}/{repository}:{tag}"
    assert direct_name(str(name), plain_http=False) == name
    assert isinstance(name, RegistryName)
    assert scopes_for(name) == (f"repository:{repository}:pull,push",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("reg.test/a//c", "is no repository name"),
        ("reg.test/a/b/C", "lower case only; use 'reg.test/a/b/c'"),
        ("reg.test/a/../c", "is no repository name"),
        ("reg.test/a/-b/c", "is no repository name"),
        ("reg.test/a/b/c:", "tag '' is not legal"),
        ("reg.test/a/b/c:.", "tag '.' is not legal"),
        (f"reg.test/a/b/{'c' * 255}", "more than 255 characters"),
        (f"{'h' * 351}/a/b/c", "more than 350 characters"),
        ("/a/b/c", "is no registry host"),
        ("[::1/a/b", "is no registry host"),
        ("[::1]:99999/a/b", "is no registry host"),
        ("[1::2::3]/a/b", "is no registry host"),
        ("reg.test/a.b/C", "namespace 'a.b' is not legal"),
        ("my model/x", "namespace 'my model' is not legal"),
        ("model", "a push needs a namespace"),
        (" reg.test/a/b", "spaces around"),
    ],
)
def test_what_no_registry_takes_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidModelName, match=re.escape(problem)):
        direct_name(text, plain_http=False)


def test_a_name_is_text() -> None:
    with pytest.raises(InvalidModelName, match="a model name is a str"):
        direct_name(7, plain_http=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("team/base", True), ("a.b/c__d/e--f", True), ("", False), ("A/b", False), ("a//b", False), ("a/b:v1", False)],
)
def test_a_repository_is_named_as_registries_allow(text: str, is_one: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_repository_path(text) is is_one


def test_a_repository_to_mount_from_is_pulled_from() -> None:
    manifest = Manifest.parse(b'{"layers":[{"digest":"sha256:%s","size":1}]}' % (b"a" * 64))
    name = ModelName.parse("reg.test/me/llama")
    own, *others = scopes_for(name, manifest, "team/base")
    assert (own, others) == ("repository:me/llama:pull,push", ["repository:team/base:pull"])
    assert scopes_for(name, manifest, "me/llama") == (own,)


def test_repositories_that_have_a_blob_come_before_those_that_may() -> None:
    blob = Descriptor("sha256:a", 1, "", "reg.test:5000/me/pulled")
    assert mount_sources(blob, NAME, "me/named") == ("me/pulled", "me/named")
    assert mount_sources(blob, NAME, "me/named", ["me/new", "me/llama", "me/old"]) == (
        "me/new",
        "me/old",
        "me/pulled",
        "me/named",
    )
    assert mount_sources(blob, NAME, "me/old", ["me/new", "me/old"]) == ("me/old", "me/new", "me/pulled")


def test_scopes_of_mounts_are_few_and_each_is_there_once() -> None:
    model = Model.of(A, B)
    known = {digest: [f"me/{number}" for number in range(9)] for digest in model.blobs}
    _own, *others = scopes_for(NAME, model.manifest, known=known)
    assert others == [f"repository:me/{number}:pull" for number in range(8)]


def test_a_model_of_a_registry_is_told_by_its_name() -> None:
    assert RegistryModel("reg.test/a/b:v1").label == "reg.test/a/b:v1"
    assert RegistryModel(ModelName.parse("reg.test/a/b")).label == "reg.test/a/b:latest"


def test_reading_needs_no_more_than_pull() -> None:
    assert reading_scope(ModelName.parse("reg.test/a/b")) == "repository:a/b:pull"


@pytest.mark.parametrize(
    ("place", "name", "expected"),
    [
        ("registry.example.com", "my-llama", "registry.example.com/library/my-llama:latest"),
        ("registry.example.com:5000", "team/a:v1", "registry.example.com:5000/team/a:v1"),
        ("registry.example.com/mirror", "team/a:v1", "registry.example.com/mirror/team/a:v1"),
        ("[::1]:5000", "team/a", "[::1]:5000/team/a:latest"),
    ],
)
def test_a_name_has_a_place_below_a_registry(place: str, name: str, expected: str) -> None:
    assert str(name_below(place, ModelName.parse_local(name))) == expected
