"""Checks the arguments of both registry clients. Neither sync nor async."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final, Self

import attrs

from ollama_push.core.arguments import checked_hooks, checked_seconds
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.ports import Hook
from ollama_push.core.registry.credentials import (
    AccessToken,
    Credential,
    CredentialSource,
    GivenCredential,
    IdentityToken,
    Login,
    Signer,
)
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import Credentials, FileResumeStore, ModelStore

__all__ = ["AnyCredential", "RegistrySettings"]

AnyCredential = Credential | CredentialSource | tuple[str, str] | None
"""Credentials as callers may give them: ``None`` asks the environment and docker's configuration."""

_MAX_CONCURRENCY: Final = 64


@attrs.frozen
class RegistrySettings:
    """Checked settings of a registry client; ``RegistryClient`` documents them."""

    store: ModelStore
    credentials: CredentialSource
    hooks: Sequence[Hook]
    retry: RetryPolicy
    concurrency: int
    plain_http: bool
    verify: bool
    resume: ResumeStore
    part_bytes: int | None
    stall_timeout: float

    @classmethod
    def from_arguments(
        cls,
        *,
        store: ModelStore | str | os.PathLike[str] | None,
        credentials: AnyCredential,
        hooks: Iterable[Hook],
        retry: RetryPolicy,
        concurrency: int,
        resume: ResumeStore | None,
        part_bytes: int | None,
        stall_timeout: float | None,
        plain_http: bool,
        verify: bool,
    ) -> Self:
        """Check a client's arguments.

        Raises:
            InvalidSetting: One of them cannot be used.
        """
        if (
            isinstance(concurrency, bool)
            or not isinstance(concurrency, int)
            or not 1 <= concurrency <= _MAX_CONCURRENCY
        ):
            raise InvalidSetting("concurrency", concurrency, f"expected 1 to {_MAX_CONCURRENCY}")
        if part_bytes is not None and (type(part_bytes) is not int or part_bytes < 1):
            raise InvalidSetting("part_bytes", part_bytes, "expected a number of bytes above 0, or None to adapt")
        return cls(
            store if isinstance(store, ModelStore) else ModelStore(store),
            _source_of(credentials),
            checked_hooks(hooks),
            retry,
            concurrency,
            plain_http,
            verify,
            FileResumeStore() if resume is None else resume,
            part_bytes,
            checked_seconds("stall_timeout", stall_timeout),
        )

    def evolved(self, credentials: AnyCredential, *, plain_http: bool | None) -> Self:
        """Return these settings with the overrides of one call."""
        return attrs.evolve(
            self,
            credentials=self.credentials if credentials is None else _source_of(credentials),
            plain_http=self.plain_http if plain_http is None else plain_http,
        )


def _source_of(given: AnyCredential) -> CredentialSource:
    if given is None:
        return Credentials()
    if isinstance(given, tuple):
        if len(given) != 2 or not all(isinstance(text, str) for text in given):  # noqa: PLR2004 - a pair
            raise InvalidSetting("credentials", "<hidden>", "expected (username, password)")
        return GivenCredential(Login(*given))
    if isinstance(given, CredentialSource):
        return given
    if isinstance(given, Login | IdentityToken | AccessToken | Signer):
        return GivenCredential(given)
    raise InvalidSetting("credentials", "<hidden>", "expected a Login, (username, password) or Credentials")
