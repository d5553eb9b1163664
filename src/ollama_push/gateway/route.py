"""Finds the registry and the local model that a name means: as Ollama does, but for the default registry."""

from __future__ import annotations

import attrs

from ollama_push.core.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName, NameParts, is_host_like
from ollama_push.core.registry.target import name_below

__all__ = ["PushRoute", "as_ollama_shows", "route_for"]

_MISSING = "!MISSING!"
"""Shown by Ollama for an empty part before or after a separator (``types/model/name.go``)."""


@attrs.frozen
class PushRoute:
    """The two ends of a push.

    Attributes:
        target: Name in the registry.
        sources: Names in the local store; the first that exists is pushed.
    """

    target: ModelName
    sources: tuple[ModelName, ...]


def route_for(text: str, default_registry: str | None, source: str = "") -> PushRoute:
    """Return the route of the model *text*.

    A scheme is dropped, as by a real server (v0.5.2+): ``insecure`` alone chooses plain HTTP.

    Args:
        text: The name as a client wrote it.
        default_registry: Registry of names without a host, perhaps with a path; ``None`` for Ollama's.
        source: The only name in the local store, as a client wrote it; empty for the usual ones.

    Raises:
        InvalidModelName: It cannot be pushed, or *source* is no name.
    """
    route = _usual_route(text, default_registry)
    return attrs.evolve(route, sources=(ModelName.parse_local(source),)) if source else route


def _usual_route(text: str, default_registry: str | None) -> PushRoute:
    parts = NameParts.split(text)
    if default_registry is not None and parts.host is None and not is_host_like(parts.namespace or ""):
        # Only in Ollama's registry is "library" the namespace of nobody: here a bare name is fine.
        written = ModelName.parse_local(text)
        target = name_below(default_registry, written)
        return PushRoute(target, (written, target))
    name = attrs.evolve(ModelName.parse(text), scheme="")
    return PushRoute(name, (name,))


def as_ollama_shows(text: str) -> str:
    """Return an illegal name as a real server quotes it: defaults filled in, the scheme left out.

    Source: ollama ``types/model/name.go`` ``ParseName``, ``String`` at fb3076099.
    """
    parts = NameParts.split(text)
    host = DEFAULT_HOST if parts.host is None else parts.host or _MISSING
    namespace = DEFAULT_NAMESPACE if parts.namespace is None else parts.namespace or _MISSING
    tag = DEFAULT_TAG if parts.tag is None else parts.tag or _MISSING
    return f"{host}/{namespace}/{parts.model or _MISSING}:{tag}"
