"""Finds the repository of a registry that the path of a pull names.

Source: distribution-spec v1.1.1, "Pulling manifests" (the grammar of names, tags and digests).
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from ollama_push.core.names import DEFAULT_HOST
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.manifests import is_sha256_digest
from ollama_push.core.registry.target import is_repository_path
from ollama_push.gateway.settings import GatewaySettings

__all__ = ["PullTarget", "is_reference", "target_for"]

_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_CHARACTERS: Final = 255


@attrs.frozen
class PullTarget:
    """A repository that may be pulled from.

    Attributes:
        name: As the path has it.
        endpoint: Where it is.
    """

    name: str
    endpoint: Endpoint


def is_reference(text: str) -> bool:
    """Return whether *text* is a tag or a digest."""
    return is_sha256_digest(text) or _TAG.fullmatch(text) is not None


def target_for(name: str, settings: GatewaySettings) -> PullTarget | None:
    """Return what *name* means: below a registry of ``allow`` that it begins with, else in the default registry.

    A registry is named with its port or, since most clients take no port in the middle of a name, without it.

    Returns:
        ``None`` when no repository can have that name.
    """
    first, _, rest = name.partition("/")
    registry = _allowed_registry(first, settings) if rest else None
    if registry is None:
        registry, _, path = (settings.default_registry or DEFAULT_HOST).partition("/")
        repository = f"{path}/{name}" if path else name
    else:
        repository = rest
    if not is_repository_path(repository) or len(repository) > _MAX_CHARACTERS:
        return None
    return PullTarget(name, Endpoint.of(registry, repository, plain_http=settings.plain_http))


def _allowed_registry(text: str, settings: GatewaySettings) -> str | None:
    hosts = [host.lower() for host in settings.allow]
    named = [host for host in hosts if text == host]
    without_port = [host for host in hosts if text == host.rpartition(":")[0]]
    return next(iter(named or without_port), None)
