"""Who we are to a registry, as values; :mod:`ollama_push.local` finds them."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol, runtime_checkable

import attrs

from ollama_push.core.errors import InvalidSetting

__all__ = [
    "PRINTABLE",
    "AccessToken",
    "Credential",
    "CredentialSource",
    "GivenCredential",
    "IdentityToken",
    "Login",
    "RepositoryCredentialSource",
    "Signer",
    "credential_for",
]


PRINTABLE: Final = re.compile(r"[!-~]+")
"""What a token may hold to fit into a header (RFC 9110, 5.5), without spaces."""


def _printable(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not PRINTABLE.fullmatch(value):
        raise InvalidSetting(attribute.name, "<hidden>", "expected visible ASCII characters, no spaces, no line end")


def _without_colon(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise InvalidSetting(attribute.name, "<hidden>", "expected text")
    name, colon, _password = value.partition(":")
    if colon:
        # The text after the colon was meant as the password.
        raise InvalidSetting(attribute.name, f"{name}:<hidden>", "a user name has no colon (RFC 7617, 2)")


@attrs.frozen
class Login:
    """A user name and a password, or a password-like token.

    Attributes:
        username: May be shown.
        password: Never shown, not even in ``repr``.
    """

    username: str = attrs.field(validator=_without_colon)
    password: str = attrs.field(repr=False)


@attrs.frozen
class IdentityToken:
    """A refresh token that a registry gave out at ``login``.

    Source: docker's ``config.json`` key ``identitytoken``; distribution "Oauth2 Token Authentication".
    """

    token: str = attrs.field(repr=False)


@attrs.frozen
class AccessToken:
    """A bearer token that is sent to the registry as it is.

    Source: docker's ``config.json`` key ``registrytoken``.
    """

    token: str = attrs.field(repr=False, validator=_printable)


@runtime_checkable
class Signer(Protocol):
    """A key pair that proves an identity by signing: Ollama's ed25519 key.

    Source: ollama ``auth/auth.go``, ``server/auth.go`` at fb3076099.
    """

    @property
    def public_key(self) -> str:
        """The middle field of the OpenSSH public key: base64, no name, no comment."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature of *data* (64 bytes for ed25519)."""
        ...


Credential = Login | IdentityToken | AccessToken | Signer


@runtime_checkable
class CredentialSource(Protocol):
    """Finds the credential for a registry; may read files and run programs, must not ask the registry."""

    def find(self, host: str, /) -> Credential | None:
        """Return the credential for *host* (``"host"`` or ``"host:port"``); ``None`` to stay anonymous.

        Raises:
            InvalidSetting: There is one, but it cannot be read.
        """
        ...


@runtime_checkable
class RepositoryCredentialSource(CredentialSource, Protocol):
    """A source that may have different credentials for the repositories of one registry."""

    def find_for(self, host: str, repository: str, /) -> Credential | None:
        """Return the credential for *repository* at *host*; see ``find``."""
        ...


def credential_for(source: CredentialSource, host: str, repository: str) -> Credential | None:
    """Return the credential that *source* has for *repository* at *host*; see ``CredentialSource.find``."""
    if isinstance(source, RepositoryCredentialSource):
        return source.find_for(host, repository)
    return source.find(host)


@attrs.frozen
class GivenCredential:
    """A source that need not look: one credential for every registry; ``None`` to stay anonymous."""

    credential: Credential | None

    def find(self, _host: str, /) -> Credential | None:
        return self.credential
