"""What the name of a direct push means in a registry: the repository, the scopes of its tokens, blobs to mount.

The target of a direct push is the registry's business: any repository of the OCI distribution-spec is one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Final, Self

import attrs

from ollama_push.core.errors import InvalidModelName
from ollama_push.core.facts import Advice
from ollama_push.core.messages import shorten
from ollama_push.core.names import DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName, NameParts, is_host_like
from ollama_push.core.registry.manifests import Descriptor, Manifest

__all__ = [
    "RegistryModel",
    "RegistryName",
    "direct_name",
    "is_repository_path",
    "mount_sources",
    "name_below",
    "reading_scope",
    "scopes_for",
]

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")

# distribution-spec v1.1, "Pulling manifests".
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_HOST_CHARACTERS: Final = 350
_MAX_REPOSITORY_CHARACTERS: Final = 255
"""distribution/reference ``RepositoryNameTotalLengthMax``."""
_MAX_MOUNT_SCOPES: Final = 8
"""They go into one URL. A registry that wants one more for a mount names it in its challenge."""
_NOTHING: Final[Mapping[str, Collection[str]]] = {}


@attrs.frozen
class RegistryName(ModelName):
    """A name that registries can have and Ollama's grammar has not.

    Its namespace may have any depth and hold dots, its host may be an IPv6 address, its tag may have 128 characters.
    No model in a local store has such a name.
    """

    def __attrs_post_init__(self) -> None:
        problem = self.oci_problem()
        if problem is None and len(self.host) > _MAX_HOST_CHARACTERS:
            problem = f"the host has more than {_MAX_HOST_CHARACTERS} characters"
        if problem is None and len(self.repository) > _MAX_REPOSITORY_CHARACTERS:
            problem = f"the repository has more than {_MAX_REPOSITORY_CHARACTERS} characters"
        if problem is None and not _TAG.fullmatch(self.tag):
            problem = f"tag {shorten(self.tag)} is not legal; expected 1 to 128 of A-Z a-z 0-9 _ - ."
        if problem is not None:
            raise InvalidModelName(str(self), problem)

    @classmethod
    def of_parts(cls, text: str, parts: NameParts) -> Self | None:
        """Return the name that *text* is; ``None`` where it names no registry.

        Raises:
            InvalidModelName: No registry takes it.
        """
        host, namespace = parts.host, parts.namespace or ""
        if host is not None:
            host, slash, above = host.partition("/")
            namespace = f"{above}{slash}{namespace}"
        elif is_host_like(namespace):
            host, namespace = namespace, DEFAULT_NAMESPACE
        else:
            return None
        tag = DEFAULT_TAG if parts.tag is None else parts.tag
        try:
            return cls(host, namespace, parts.model, tag, parts.scheme or "")
        except InvalidModelName as exc:
            raise InvalidModelName(text, exc.problem) from None

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}:{self.tag}"


@attrs.frozen
class RegistryModel:
    """A model of a registry, as the source or the target of a copy.

    Attributes:
        name: ``host/namespace/model[:tag]``.
        plain_http: Whether the registry speaks plain HTTP; ``None`` for the client's setting.
    """

    name: ModelName | str
    plain_http: bool | None = None

    @property
    def label(self) -> str:
        """How people are told of it."""
        return str(self.name)


def direct_name(text: str | ModelName, *, plain_http: bool) -> ModelName:
    """Return the name of a push straight to a registry, before any I/O.

    Raises:
        InvalidModelName: Neither Ollama's grammar nor that of registries allows it, or it carries a scheme that
            says something else than *plain_http*.
    """
    name = text if isinstance(text, ModelName) else _parsed(text)
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


def name_below(place: str, name: ModelName) -> ModelName:
    """Return *name* in the registry *place*, ``host[/path]``: its own host is left out.

    Raises:
        InvalidModelName: No registry takes it.
    """
    host, slash, path = place.partition("/")
    if not slash and not host.startswith("["):
        return attrs.evolve(name, host=host)
    return RegistryName(host, f"{path}{slash}{name.namespace}", name.model, name.tag)


def _parsed(text: str) -> ModelName:
    try:
        return ModelName.parse(text)
    except InvalidModelName:
        parts = NameParts.split(text) if isinstance(text, str) else None
        # Where only Ollama's grammar can be meant, its reason is the one to tell.
        deep = parts is not None and ("/" in (parts.host or "") or text.startswith("["))
        try:
            name = RegistryName.of_parts(text, parts) if parts is not None else None
        except InvalidModelName:
            if deep:
                raise
            name = None
        if name is None:
            raise
        return name


def mount_sources(blob: Descriptor, name: ModelName, named: str = "", known: Collection[str] = ()) -> tuple[str, ...]:
    """Return the repositories of the same registry that may have *blob*, the likeliest first.

    Args:
        blob: What is to be mounted.
        name: Where to; its own repository is none of them.
        named: A repository that the caller names.
        known: Repositories that were given the blob by earlier pushes, the last one first.
    """
    first = (named,) if named in known else ()
    sources = dict.fromkeys((*first, *known, _pulled_from(blob, name), named))
    return tuple(source for source in sources if source not in ("", name.repository))


def _pulled_from(blob: Descriptor, name: ModelName) -> str:
    """Return the repository of the same registry that Ollama took *blob* from; empty when it is none."""
    if not blob.mount_from:
        return ""
    try:
        source = ModelName.parse_local(blob.mount_from)
    except InvalidModelName:
        return ""
    return "" if source.host.lower() != name.host.lower() or source.oci_problem() else source.repository


def is_repository_path(text: str) -> bool:
    """Return whether *text* names a repository of a registry (distribution-spec v1.1.1, "Pulling manifests")."""
    return _REPOSITORY.fullmatch(text) is not None


def scopes_for(
    name: ModelName,
    manifest: Manifest | None = None,
    mount_from: str = "",
    known: Mapping[str, Collection[str]] = _NOTHING,
) -> tuple[str, ...]:
    """Return what a token must allow for pushing *manifest* to *name*, and after it what mounts need.

    Args:
        name: Where to.
        manifest: What is pushed; ``None`` for no mounts.
        mount_from: A repository that the caller names; see :func:`mount_sources`.
        known: By digest, the repositories that were given a blob; likewise.

    Source: distribution "Token Scope Documentation".
    """
    sources = dict.fromkeys(
        source
        for blob in (manifest.blobs if manifest else ())
        for source in mount_sources(blob, name, mount_from, known.get(blob.digest, ()))
    )
    mounts = (f"repository:{source}:pull" for source in islice(sources, _MAX_MOUNT_SCOPES))
    return (f"repository:{name.repository}:pull,push", *mounts)


def reading_scope(name: ModelName) -> str:
    """Return what a token must allow for reading *name*."""
    return f"repository:{name.repository}:pull"
