"""``try_login`` shows a registry the login it is given, whoever the client is otherwise."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import pytest
from tests.support.direct_push import PATIENCE, Colour, Direct, either_colour, push, settings, stored

from ollama_push import AsyncRegistryClient, Credentials, RegistryClient
from ollama_push.core.errors import InvalidSetting, PushRejected, RejectionReason
from ollama_push.core.registry.credentials import Login
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry

RIGHT: Final = Login("ann", "s3cret-of-ann")
WRONG: Final = Login("ann", "s3cret-of-bob")


def try_login(colour: Colour, asked: Direct, login: Login) -> bool:
    if colour is push:
        with RegistryClient(**settings(asked)) as client:
            return client.try_login(asked.host, login)

    async def run() -> bool:
        async with asyncio.timeout(PATIENCE), AsyncRegistryClient(**settings(asked)) as client:
            return await client.try_login(asked.host, login)

    return asyncio.run(run())


@either_colour
def test_a_login_that_is_accepted_counts_whoever_the_client_is(colour: Colour, tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", auth=BasicAuth({RIGHT.username: RIGHT.password})) as registry:
        asked = Direct(host=registry.host, home=tmp_path, credentials=WRONG)
        assert try_login(colour, asked, RIGHT) is True
        assert [seen.status for seen in registry.requests] == [401, 200]


@either_colour
def test_a_login_that_is_not_accepted_does_not_hide_behind_the_clients_own(colour: Colour, tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", auth=BasicAuth({RIGHT.username: RIGHT.password})) as registry:
        asked = Direct(host=registry.host, home=tmp_path, credentials=RIGHT)
        with pytest.raises(PushRejected) as refused:
            try_login(colour, asked, WRONG)
    assert refused.value.reason is RejectionReason.UNAUTHORIZED
    assert WRONG.password not in f"{refused.value} {refused.value!r}"


@either_colour
def test_a_registry_that_asks_nobody_did_not_want_to_see_a_login(colour: Colour, tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        assert try_login(colour, Direct(host=registry.host, home=tmp_path), RIGHT) is False


@either_colour
@pytest.mark.parametrize("host", ["https://registry:5000", "registry/v2", ""])
def test_what_is_no_host_is_asked_nothing(host: str, colour: Colour, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting) as caught:
        try_login(colour, Direct(host=host, home=tmp_path), RIGHT)
    assert caught.value.setting == "registry"


@either_colour
def test_the_key_for_a_server_is_shown_to_no_registry(
    colour: Colour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "key-1")
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        assert colour(Direct(host=registry.host, home=tmp_path)).error is None
        assert not any(seen.had_authorization for seen in registry.requests)
    with EmbeddedRegistry(tmp_path / "asks", auth=BasicAuth({RIGHT.username: RIGHT.password})) as registry:
        assert colour(Direct(host=registry.host, home=tmp_path, credentials=Credentials(environ=os.environ))).error
        assert not any(seen.had_authorization for seen in registry.requests)
