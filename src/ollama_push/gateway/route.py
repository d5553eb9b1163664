"""Which registry a name means, and which local model: names as Ollama reads them, and a company's own default."""

from __future__ import annotations

import attrs

from ollama_push.core.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName, NameParts, is_host_like

__all__ = ["PushRoute", "as_ollama_shows", "route_for"]

_MISSING = "!MISSING!"
"""What Ollama shows for a part that a separator promises and that is not there (``types/model/name.go``)."""


@attrs.frozen
class PushRoute:
    """Where a push goes.

    Attributes:
        target: Name in the registry.
        sources: Names in the local store; the first that exists is pushed.
    """

    target: ModelName
    sources: tuple[ModelName, ...]


def route_for(text: str, default_registry: str | None) -> PushRoute:
    """Return where the model *text* goes.

    A scheme is left out, as a real server does (v0.5.2+): ``insecure`` alone chooses plain HTTP.

    Args:
        text: The name as a client wrote it.
        default_registry: Registry of names without a host; ``None`` for Ollama's.

    Raises:
        InvalidModelName: It cannot be pushed.
    """
    parts = NameParts.split(text)
    if default_registry is not None and parts.host is None and not is_host_like(parts.namespace or ""):
        # A company's registry has no owner for "library": a bare name is fine there.
        written = ModelName.parse_local(text)
        target = attrs.evolve(written, host=default_registry)
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
