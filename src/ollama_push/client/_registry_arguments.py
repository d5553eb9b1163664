"""Checks the arguments of both registry clients. Neither sync nor async."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ollama_push.client._guest import Guest
from ollama_push.core.arguments import checked_hooks, checked_stall_timeout
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.ports import Hook
from ollama_push.core.registry.blob_upload.part_sizes import WHOLE, PartBytes
from ollama_push.core.registry.breaker import breakers_of
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
from ollama_push.core.registry.target import is_repository_path
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import Credentials, FileResumeStore, ModelStore

__all__ = ["AnyCredential", "RegistrySettings", "source_of"]

AnyCredential = Credential | CredentialSource | tuple[str, str] | None
"""Credentials as callers may give them: ``None`` asks the environment and docker's configuration."""

_MAX_CONCURRENCY: Final = 64


def source_of(given: AnyCredential) -> CredentialSource:
    """Return where credentials are found, from an argument.

    Raises:
        InvalidSetting: It is none that callers may give.
    """
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


def _store_of(given: ModelStore | str | os.PathLike[str] | None) -> ModelStore:
    return given if isinstance(given, ModelStore) else ModelStore(given)


def _resume_of(given: ResumeStore | None) -> ResumeStore:
    return FileResumeStore() if given is None else given


def _check_concurrency(_instance: object, _attribute: object, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_CONCURRENCY:
        raise InvalidSetting("concurrency", value, f"expected 1 to {_MAX_CONCURRENCY}")


def _check_part_bytes(_instance: object, _attribute: object, value: Any) -> None:
    if value not in (None, WHOLE) and (type(value) is not int or value < 1):
        problem = f'expected a number of bytes above 0, "{WHOLE}" for each blob in one request, or None to adapt'
        raise InvalidSetting("part_bytes", value, problem)


def _check_mount_from(_instance: object, _attribute: object, value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not is_repository_path(value)):
        raise InvalidSetting("mount_from", value, "expected a repository without its registry, such as team/base")


def _check_rate(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # "not >=" also catches NaN.
    if value is not None and (not is_number or not value >= 1):
        raise InvalidSetting(attribute.name, value, "expected bytes per second, at least 1, or None for no limit")


@attrs.frozen
class RegistrySettings:
    """Settings of a registry client, checked; ``RegistryClient`` documents them.

    Raises:
        InvalidSetting: One of them cannot be used.
    """

    store: ModelStore = attrs.field(converter=_store_of)
    credentials: CredentialSource = attrs.field(converter=source_of)
    hooks: Sequence[Hook] = attrs.field(converter=checked_hooks)
    retry: RetryPolicy
    concurrency: int = attrs.field(validator=_check_concurrency)
    plain_http: bool
    verify: bool
    resume: ResumeStore = attrs.field(converter=_resume_of)
    part_bytes: PartBytes = attrs.field(validator=_check_part_bytes)
    stall_timeout: float = attrs.field(converter=checked_stall_timeout)
    force_upload: bool = False
    mount_from: str | None = attrs.field(default=None, validator=_check_mount_from)
    max_bytes_per_second: float | None = attrs.field(default=None, validator=_check_rate)
    guest: Guest = attrs.field(init=False)

    @guest.default
    def _new_guest(self) -> Guest:
        return Guest(self.max_bytes_per_second, breakers_of(self.resume))
