"""What the name of a direct push means in a registry: the repository, the scopes of its tokens, blobs to mount."""

from __future__ import annotations

from ollama_push.core.errors import InvalidModelName
from ollama_push.core.facts import Advice
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import Descriptor, Manifest

__all__ = ["direct_name", "mount_source", "scopes_for"]


def direct_name(text: str | ModelName, *, plain_http: bool) -> ModelName:
    """Return the name of a push straight to a registry, before any I/O.

    Raises:
        InvalidModelName: Ollama's grammar or a registry's does not allow it, or it carries a scheme that
            says something else than *plain_http*.
    """
    name = text if isinstance(text, ModelName) else ModelName.parse(text)
    problem, advice = name.oci_problem(), None
    if name.scheme == "http" and not plain_http:
        problem = "a name does not choose plain HTTP; leave http:// out"
        advice = Advice.ASK_PLAIN_HTTP
    elif name.scheme not in ("", "https", "http"):
        problem = f"a registry is reached by https://, not {name.scheme}://"
    elif name.scheme == "https" and plain_http:
        problem = "https:// in the name contradicts plain HTTP"
    if problem is not None:
        raise InvalidModelName(text if isinstance(text, str) else str(name), problem, advice)
    return name


def mount_source(blob: Descriptor, name: ModelName) -> str:
    """Return the repository of the same registry that *blob* came from; empty when there is none."""
    if not blob.mount_from:
        return ""
    try:
        source = ModelName.parse_local(blob.mount_from)
    except InvalidModelName:
        return ""
    elsewhere = source.host.lower() != name.host.lower() or source.repository == name.repository
    return "" if elsewhere or source.oci_problem() else source.repository


def scopes_for(name: ModelName, manifest: Manifest | None = None) -> tuple[str, ...]:
    """Return what a token must allow for pushing *manifest* to *name*.

    Source: distribution "Token Scope Documentation".
    """
    sources = dict.fromkeys(mount_source(blob, name) for blob in manifest.blobs) if manifest else {}
    mounts = (f"repository:{source}:pull" for source in sources if source)
    return (f"repository:{name.repository}:pull,push", *mounts)
