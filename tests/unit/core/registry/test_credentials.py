"""Secrets stay out of texts, and a key pair is told by what it can do."""

from __future__ import annotations

import pytest

from ollama_push.core.registry.credentials import AccessToken, CredentialSource, IdentityToken, Login, Signer


class _Key:
    public_key = "AAAA"

    def sign(self, data: bytes) -> bytes:
        return data


class _Source:
    def find(self, host: str, /) -> None:
        return None


@pytest.mark.parametrize("secret", [Login("me", "pa55"), IdentityToken("pa55"), AccessToken("pa55")])
def test_a_secret_is_never_shown(secret: object) -> None:
    assert "pa55" not in f"{secret} {secret!r}"


def test_a_login_shows_its_user() -> None:
    assert "me" in repr(Login("me", "x"))


def test_whoever_signs_is_a_signer() -> None:
    assert isinstance(_Key(), Signer)
    assert not isinstance(Login("me", "x"), Signer | CredentialSource)
    assert isinstance(_Source(), CredentialSource)
