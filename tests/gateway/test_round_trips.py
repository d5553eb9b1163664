"""A push through the gateway sends a registry no more than one straight to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, settings_for, store_of

from ollama_push import NoResume, RegistryClient
from ollama_push.core.registry.credentials import Login
from ollama_push.local import Credentials
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, TokenAuth
from ollama_push.testing.registry.auth import Auth

ME = Login("alice", "battery staple")
USERS = {ME.username: ME.password}


def asked(registry: EmbeddedRegistry, begin: int) -> list[str]:
    """Return what *registry* was asked from the request *begin* on, without names of upload sessions, in any order."""
    paths = ((seen.method, re.sub(r"(/uploads/).+|\?.*", r"\1", seen.path)) for seen in registry.requests[begin:])
    return sorted(f"{method} {path}" for method, path in paths)


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(lambda: None, id="open"),
        pytest.param(lambda: BasicAuth(USERS), id="htpasswd"),
        pytest.param(lambda: TokenAuth(USERS, lambda _user, _repository: ("pull", "push")), id="token"),
    ],
)
def test_the_gateway_asks_what_a_direct_push_asks(tmp_path: Path, auth: Callable[[], Auth | None]) -> None:
    """One blob at a time: how many requests side by side are challenged before the first has logged in is chance."""
    name = "team/demo"
    store = store_of(tmp_path, f"registry.ollama.ai/{name}/latest")
    credentials = Credentials(ME, environ={})
    with (
        EmbeddedRegistry(tmp_path / "direct", auth=auth()) as direct,
        EmbeddedRegistry(tmp_path / "through", auth=auth()) as through,
    ):
        settings = settings_for(
            store, credentials=credentials, default_registry=through.host, plain_http=True, concurrency=1
        )
        with Gateway(settings) as gateway:
            for _again in range(2):
                before = len(direct.requests), len(through.requests)
                with RegistryClient(
                    store=store.root, credentials=credentials, plain_http=True, resume=NoResume(), concurrency=1
                ) as client:
                    client.push(f"{direct.host}/{name}", source=name)
                assert gateway.push({"model": name}).lines[-1] == {"status": "success"}
                assert asked(through, before[1]) == asked(direct, before[0])
