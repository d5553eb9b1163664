"""The settings of a gateway, and the routes of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ollama_push.core.errors import InvalidModelName, InvalidSetting
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.gateway import GatewaySettings, origins_from
from ollama_push.gateway.route import route_for
from ollama_push.local import ModelStore


def settings(**more: Any) -> GatewaySettings:
    return GatewaySettings(store=ModelStore(Path("/nowhere")), **more)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_registry", "https://registry.example.com"),
        ("default_registry", "registry.example.com/Team"),
        ("default_registry", "registry.example.com/"),
        ("allow", ("registry.example.com", "a b")),
        ("origins", ("evil",)),
        ("origins", ("https://*.*.com",)),
        ("token", ""),
        ("token", "two words"),
        ("max_pushes", 0),
        ("max_pushes", True),
        ("max_body_bytes", -1),
        ("body_timeout", 0),
        ("shutdown_grace", float("nan")),
        ("concurrency", 1.5),
    ],
)
def test_a_setting_nobody_could_use_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidSetting) as refused:
        settings(**{name: value})
    assert refused.value.setting == name


def test_the_token_does_not_show() -> None:
    assert "s3cret" not in repr(settings(token="s3cret"))
    with pytest.raises(InvalidSetting) as refused:
        settings(token="s3cret word")
    assert "s3cret" not in str(refused.value)


def registry(host: str) -> Endpoint:
    return Endpoint.of(host, plain_http=False)


def test_an_empty_list_allows_every_registry_and_a_list_only_those_on_it() -> None:
    assert settings().allows(registry("anything.example.com:5000"))
    some = settings(
        allow=("Registry.example.com", "other.example.com:5000", "usual.example.com:443"),
        default_registry="own.example.com",
    )
    allowed = ("registry.example.com", "REGISTRY.example.com:443", "other.example.com:5000", "own.example.com")
    assert all(some.allows(registry(host)) for host in (*allowed, "usual.example.com"))
    others = ("other.example.com", "example.com", "registry.example.com.evil.com", "usual.example.com:80")
    assert not any(some.allows(registry(host)) for host in others)
    assert not some.allows(Endpoint.of("usual.example.com", plain_http=True))


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", ()),
        ("https://a.example.com", ("https://a.example.com",)),
        (' "https://a.example.com, http://b:*" ', ("https://a.example.com", "http://b:*")),
        ("*", ("*",)),
    ],
)
def test_origins_come_from_ollamas_own_variable(value: str, origins: tuple[str, ...]) -> None:
    assert origins_from({"OLLAMA_ORIGINS": value}) == origins
    assert settings(origins=origins).origins == origins


@pytest.mark.parametrize(
    ("name", "default", "target"),
    [
        ("myuser/my-llama", None, "myuser/my-llama:latest"),
        ("http://localhost:5000/ns/m:t", None, "localhost:5000/ns/m:t"),
        ("registry.example.com/my-llama", None, "registry.example.com/library/my-llama:latest"),
        ("myuser/my-llama:v2", "own.example.com", "own.example.com/myuser/my-llama:v2"),
        ("my-llama", "own.example.com", "own.example.com/library/my-llama:latest"),
        ("registry.example.com/my-llama", "own.example.com", "registry.example.com/library/my-llama:latest"),
        ("registry.ollama.ai/a/b", "own.example.com", "a/b:latest"),
        ("other.example.com/a/b", "own.example.com", "other.example.com/a/b:latest"),
    ],
)
def test_a_name_goes_where_it_says_or_else_to_the_default(name: str, default: str | None, target: str) -> None:
    route = route_for(name, default)
    assert str(route.target) == target
    assert route.target in route.sources


def test_with_a_default_registry_the_model_is_looked_for_as_written_first() -> None:
    route = route_for("myuser/my-llama", "own.example.com")
    assert [str(source) for source in route.sources] == [
        "myuser/my-llama:latest",
        "own.example.com/myuser/my-llama:latest",
    ]


@pytest.mark.parametrize("name", ["", " a/b", "a b/c", "../x", "my-llama", "a/b/c/d"])
def test_a_name_that_cannot_be_pushed_is_refused(name: str) -> None:
    with pytest.raises(InvalidModelName):
        route_for(name, None)


@pytest.mark.parametrize(
    ("registry", "target"),
    [
        ("us-docker.pkg.dev/proj/repo", "us-docker.pkg.dev/proj/repo/library/my-llama:latest"),
        ("[::1]:5000", "[::1]:5000/library/my-llama:latest"),
    ],
)
def test_a_default_registry_may_have_a_path_or_an_address(registry: str, target: str) -> None:
    chosen = settings(default_registry=registry, allow=("quay.io",))
    route = route_for("my-llama", chosen.default_registry)
    assert str(route.target) == target
    assert chosen.allows(Endpoint.of(route.target.host, plain_http=False))
    assert chosen.rules.allows_url(Endpoint.of(route.target.host, plain_http=False).origin)
