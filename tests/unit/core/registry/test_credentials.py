"""Secrets stay out of texts, and a key pair is told by what it can do."""

from __future__ import annotations

import traceback

import pytest

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import (
    AccessToken,
    CredentialSource,
    GivenCredential,
    IdentityToken,
    Login,
    RepositoryCredentialSource,
    Signer,
    credential_for,
)


class _Key:
    public_key = "AAAA"

    def sign(self, data: bytes) -> bytes:
        return data


class _Source:
    def find(self, host: str, /) -> None:
        return None


class _Robots(_Source):
    def find_for(self, host: str, repository: str, /) -> Login:
        return Login(f"{host}+{repository}", "x")


def test_a_source_may_know_repositories() -> None:
    assert credential_for(_Robots(), "h", "team/m") == Login("h+team/m", "x")
    assert credential_for(_Source(), "h", "team/m") is None
    assert isinstance(_Robots(), RepositoryCredentialSource)


@pytest.mark.parametrize("secret", [Login("me", "pa55"), IdentityToken("pa55"), AccessToken("pa55")])
def test_a_secret_is_never_shown(secret: object) -> None:
    assert "pa55" not in f"{secret} {secret!r}"


def test_a_login_shows_its_user() -> None:
    assert "me" in repr(Login("me", "x"))


def test_whoever_signs_is_a_signer() -> None:
    assert isinstance(_Key(), Signer)
    assert not isinstance(Login("me", "x"), Signer | CredentialSource)
    assert isinstance(_Source(), CredentialSource)


@pytest.mark.parametrize(
    "token", ["pa55\r\nX-Evil: 1", "pa55\n", "pa55 word", " pa55", "pa55\t", "pa55\xe9", "pa55\x00", ""]
)
def test_a_token_no_header_can_hold_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        AccessToken(token)
    assert (caught.value.setting, caught.value.value) == ("token", "<hidden>")
    assert "pa55" not in "".join((repr(caught.value), *traceback.format_exception(caught.value)))


def test_a_token_may_hold_all_that_is_visible() -> None:
    visible = "".join(map(chr, range(0x21, 0x7F)))
    assert AccessToken(visible).token == visible


@pytest.mark.parametrize("username", ["me:hunter2", "me:hunter2:x", ":", "me:", ":hunter2"])
def test_a_user_name_with_a_colon_is_refused_and_what_follows_it_is_not_shown(username: str) -> None:
    password = "pa55"  # not in the line that a traceback quotes
    with pytest.raises(InvalidSetting, match="a user name has no colon") as caught:
        Login(username, password)
    assert caught.value.setting == "username"
    shown = "".join((repr(caught.value), *traceback.format_exception(caught.value)))
    assert "pa55" not in shown
    assert "hunter2" not in shown
    assert caught.value.value == f"{username.partition(':')[0]}:<hidden>"


def test_a_user_name_is_text() -> None:
    with pytest.raises(InvalidSetting, match="expected text") as caught:
        Login(b"me", "x")  # type: ignore[arg-type]  # what is tested
    assert caught.value.value == "<hidden>"


def test_a_password_may_hold_a_colon() -> None:
    assert Login("me", "a:b").password == "a:b"


@pytest.mark.parametrize("credential", [Login("ann", "pa55"), None])
def test_a_given_credential_is_for_every_registry_and_never_shown(credential: Login | None) -> None:
    source = GivenCredential(credential)
    assert isinstance(source, CredentialSource)
    assert source.find("a.example") is source.find("b.example:5000") is credential
    assert "pa55" not in repr(source)
