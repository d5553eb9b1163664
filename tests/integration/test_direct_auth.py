"""Who we are to a registry, end to end: every way to say it, and every place it must not be said."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.blobs import MIB
from tests.support.counting_proxy import CountingProxy
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    REPOSITORY,
    SMALL,
    Colour,
    Direct,
    either_colour,
    settings,
    stored,
)
from tests.support.registries import DEBIAN_REGISTRY, RealRegistry, needs_debian_registry
from tests.support.stores import CONFIG

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.local import NoResume, OllamaKey
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, SignedAuth, TokenAuth

_PATIENCE_SECONDS: Final = 20.0
_PASSWORD: Final = "s3cret-of-ann"
_WRONG_PASSWORD: Final = "wr0ng-one-of-ann"
_USERS: Final = {"ann": _PASSWORD}
# `htpasswd -nbB -C 4 ann s3cret-of-ann`
_HTPASSWD: Final = "ann:$2b$04$yKhZzs87wDXpjCND1xgqiOdx7wAhHXFaTTezLeUEKe34F1IKHjQ1C\n"
_EVERYTHING: Final = ("pull", "push")


def _htpasswd_registry(folder: Path) -> RealRegistry:
    folder.mkdir()
    (folder / "htpasswd").write_text(_HTPASSWD, "ascii")
    auth = {"htpasswd": {"realm": "staff", "path": str(folder / "htpasswd")}}
    return RealRegistry(DEBIAN_REGISTRY, folder, auth)


def _basic_registry(folder: Path) -> EmbeddedRegistry:
    return EmbeddedRegistry(folder, auth=BasicAuth(_USERS))


def _token_registry(folder: Path) -> EmbeddedRegistry:
    return EmbeddedRegistry(folder, auth=TokenAuth(_USERS, {"ann": {REPOSITORY: _EVERYTHING}}))


Make = Callable[[Path], RealRegistry | EmbeddedRegistry]

either_registry = pytest.mark.parametrize(
    "make",
    [
        pytest.param(_htpasswd_registry, id="htpasswd", marks=needs_debian_registry),
        pytest.param(_basic_registry, id="basic"),
        pytest.param(_token_registry, id="token"),
    ],
)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of nobody; return docker's folder in it."""
    for name in ("OLLAMA_USERNAME", "OLLAMA_PASSWORD", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    docker = tmp_path / "docker"
    docker.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(docker))
    return docker


@either_colour
@either_registry
def test_a_login_opens_the_registry(make: Make, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with make(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD)))
        assert told.error is None
        assert registry.blob_path(BIG_DIGEST).read_bytes() == BIG


@either_colour
@either_registry
def test_a_wrong_password_is_refused_at_once_and_shown_nowhere(
    make: Make, colour: Colour, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stored(tmp_path)
    with make(tmp_path / "registry") as registry:
        began = time.monotonic()
        asked = Direct(host=registry.host, home=tmp_path, credentials=("ann", _WRONG_PASSWORD), hooks=(LogHook(),))
        told = colour(asked)
        took = time.monotonic() - began
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.UNAUTHORIZED
    assert took < 2.0
    shown = [
        str(told.error),
        repr(told.error),
        "".join(traceback.format_exception(told.error)),
        repr(told.seen),
        caplog.text,
        *(repr(vars(record)) for record in caplog.records),
    ]
    assert "push failed" in caplog.text
    encoded = base64.b64encode(f"ann:{_WRONG_PASSWORD}".encode()).decode()
    assert not [text for text in shown if _WRONG_PASSWORD in text or encoded in text]


@either_colour
def test_a_realm_on_another_origin_hands_out_the_tokens(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    auth = TokenAuth(_USERS, {"ann": {REPOSITORY: _EVERYTHING}})
    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        assert registry.host not in auth.realm
        assert colour(Direct(host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD))).error is None
        assert [asked.user for asked in auth.token_requests] == ["ann"]
        assert {seen.scheme for seen in registry.requests} == {"", "bearer"}


@either_colour
@pytest.mark.parametrize("uses", [None, 2], ids=["all-at-once", "after-two-uses"])
def test_a_token_that_expires_between_parts_is_renewed(colour: Colour, uses: int | None, tmp_path: Path) -> None:
    stored(tmp_path)
    auth = TokenAuth(_USERS, {"ann": {REPOSITORY: _EVERYTHING}}, expires_after_uses=uses)
    with (
        EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry,
        CountingProxy(registry.host) as proxy,
    ):
        if uses is None:
            # In the middle of the fourth part, which was let in already.
            proxy.at(7 * MIB // 8, auth.expire_all)
        asked = Direct(host=proxy.host, home=tmp_path, credentials=("ann", _PASSWORD), part_bytes=MIB // 4)
        told = colour(asked)
        assert told.error is None
        assert told.receipt is not None
        assert told.receipt.verified
        assert len(auth.token_requests) == 2 if uses is None else len(auth.token_requests) > 5
        assert any(seen.method == "PATCH" and seen.status == 401 for seen in registry.requests)
        assert registry.blob(BIG_DIGEST) == BIG


_TWO: Final = ("team/one", "team/two")
_TWO_SCOPES: Final = [(f"repository:{name}:pull,push",) for name in _TWO]


@pytest.fixture
def two_repositories(tmp_path: Path) -> Iterator[tuple[EmbeddedRegistry, TokenAuth, Direct]]:
    """A registry where ann may push to two repositories and look at a third."""
    stored(tmp_path)
    auth = TokenAuth(_USERS, {"ann": {**dict.fromkeys(_TWO, _EVERYTHING), "team/three": ("pull",)}})
    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        yield registry, auth, Direct(host=registry.host, home=tmp_path, credentials=("ann", _PASSWORD))


def test_one_client_asks_for_each_repository_by_itself(
    two_repositories: tuple[EmbeddedRegistry, TokenAuth, Direct],
) -> None:
    registry, auth, asked = two_repositories
    # What is not known is not mounted, and needs no second repository in a token.
    with RegistryClient(**settings(attrs.evolve(asked, resume=NoResume()))) as client:
        for name in _TWO:
            assert client.push(f"{registry.host}/{name}", source="my-llama").verified
        with pytest.raises(PushRejected) as caught:
            client.push(f"{registry.host}/team/three", source="my-llama")
    assert caught.value.reason is RejectionReason.UNAUTHORIZED
    assert [asked.scopes for asked in auth.token_requests][:2] == _TWO_SCOPES
    assert registry.received_bytes == len(BIG) * 2 + len(SMALL) * 2 + len(CONFIG) * 2


def test_one_async_client_asks_for_both_repositories_at_once(
    two_repositories: tuple[EmbeddedRegistry, TokenAuth, Direct],
) -> None:
    registry, auth, asked = two_repositories

    async def main() -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS), AsyncRegistryClient(**settings(asked)) as client:
            receipts = await asyncio.gather(
                *(client.push(f"{registry.host}/{name}", source="my-llama") for name in _TWO)
            )
            assert all(receipt.verified for receipt in receipts)
            with pytest.raises(PushRejected) as caught:
                await client.push(f"{registry.host}/team/three", source="my-llama")
            assert caught.value.reason is RejectionReason.UNAUTHORIZED

    asyncio.run(main())
    assert {asked.scopes for asked in auth.token_requests} >= set(_TWO_SCOPES)


@either_colour
@either_registry
def test_the_environment_says_who_we_are(
    make: Make, colour: Colour, tmp_path: Path, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    monkeypatch.setenv("OLLAMA_USERNAME", "ann")
    monkeypatch.setenv("OLLAMA_PASSWORD", _PASSWORD)
    with make(tmp_path / "registry") as registry:
        assert colour(Direct(host=registry.host, home=tmp_path, credentials=None)).error is None


@either_colour
@either_registry
def test_dockers_configuration_says_who_we_are(make: Make, colour: Colour, tmp_path: Path, surroundings: Path) -> None:
    stored(tmp_path)
    with make(tmp_path / "registry") as registry:
        login = base64.b64encode(f"ann:{_PASSWORD}".encode()).decode()
        (surroundings / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": login}}}))
        assert colour(Direct(host=registry.host, home=tmp_path, credentials=None)).error is None


@either_colour
@either_registry
def test_a_credential_helper_says_who_we_are(
    make: Make, colour: Colour, tmp_path: Path, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    helper = tmp_path / "bin" / "docker-credential-vault"
    helper.parent.mkdir()
    with make(tmp_path / "registry") as registry:
        answer = json.dumps({"ServerURL": registry.host, "Username": "ann", "Secret": _PASSWORD})
        helper.write_text(
            f"#!/bin/sh\nread -r server\n[ \"$1 $server\" = 'get {registry.host}' ] && echo '{answer}'\n", "utf-8"
        )
        helper.chmod(0o700)
        monkeypatch.setenv("PATH", str(helper.parent), prepend=os.pathsep)
        (surroundings / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "vault"}}))
        assert colour(Direct(host=registry.host, home=tmp_path, credentials=None)).error is None


@either_colour
@either_registry
def test_nobody_is_told_how_to_log_in(make: Make, colour: Colour, tmp_path: Path, surroundings: Path) -> None:
    stored(tmp_path)
    with make(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, credentials=None))
        assert isinstance(told.error, PushRejected)
        assert told.error.reason is RejectionReason.UNAUTHORIZED
        assert f"{registry.host} wants a login: pass credentials=" in str(told.error)


@pytest.fixture
def key(tmp_path: Path) -> OllamaKey:
    """A key as Ollama makes it."""
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    path = tmp_path / "id_ed25519"
    path.write_bytes(private)
    return OllamaKey.load(path)


@either_colour
@pytest.mark.parametrize("uses", [None, 2], ids=["lasting", "renewed"])
def test_ollamas_key_signs_for_the_tokens(colour: Colour, uses: int | None, key: OllamaKey, tmp_path: Path) -> None:
    stored(tmp_path)
    auth = SignedAuth({key.public_key}, expires_after_uses=uses)
    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        assert colour(Direct(host=registry.host, home=tmp_path, credentials=key)).error is None
        assert {(asked.user, asked.status) for asked in auth.token_requests} == {(key.public_key, 200)}
        # As Ollama does it, once for looking and once for pushing.
        assert len(auth.token_requests) == 2 if uses is None else len(auth.token_requests) > 2
        assert registry.blob(BIG_DIGEST) == BIG


@either_colour
def test_a_key_that_is_not_known_is_named(colour: Colour, key: OllamaKey, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", auth=SignedAuth(())) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, credentials=key))
        assert isinstance(told.error, PushRejected)
        assert told.error.reason is RejectionReason.UNAUTHORIZED
        assert key.public_key in str(told.error)
