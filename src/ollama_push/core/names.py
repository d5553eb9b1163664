"""Model names: Ollama's grammar exactly, plus the two rules a push needs.

``[scheme://][host/][namespace/]model[:tag]``, read from the right. Source: ollama
``types/model/name.go`` at fb3076099 (rules unchanged since v0.1.33).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Final, Self

import attrs

from ollama_push.core.errors import InvalidModelName
from ollama_push.core.messages import shorten

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_NAMESPACE",
    "DEFAULT_TAG",
    "MAX_NAME_CHARACTERS",
    "ModelName",
    "NameParts",
    "is_host_like",
    "is_registry_host",
    "is_valid_part",
]

DEFAULT_HOST: Final = "registry.ollama.ai"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"
MAX_NAME_CHARACTERS: Final = 600
"""Longer than every legal name: its parts have at most 350 and three times 80 characters."""

# Lengths are bytes; all legal characters are ASCII, so characters count the same.
_PART: Final[Mapping[str, re.Pattern[str]]] = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}
_EXPECTED: Final[Mapping[str, str]] = {
    "host": "1 to 350 of A-Z a-z 0-9 _ - . : not starting with a mark other than _",
    "namespace": "1 to 80 of A-Z a-z 0-9 _ - not starting with -",
    "model": "1 to 80 of A-Z a-z 0-9 _ - . starting with a letter, a digit or _",
    "tag": "1 to 80 of A-Z a-z 0-9 _ - . starting with a letter, a digit or _",
}

# distribution-spec v1.1, "Pulling manifests": <name>, <reference>; distribution/reference for the length.
_OCI_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_MAX_PORT: Final = 65535
_OCI_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[(?P<address>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
)


def is_valid_part(kind: str, text: str) -> bool:
    """Say whether *text* is a legal ``"host"``, ``"namespace"``, ``"model"`` or ``"tag"``."""
    return _PART[kind].fullmatch(text) is not None


def is_host_like(namespace: str) -> bool:
    """Say whether a *namespace* as written must be a host: no legal namespace has a dot or a colon."""
    return "." in namespace or ":" in namespace


def is_registry_host(text: str) -> bool:
    """Say whether *text* is ``host`` or ``host:port`` as an OCI registry can have it; IPv6 stands in brackets."""
    found = _OCI_HOST.fullmatch(text)
    if found is None or int(found["port"] or 0) > _MAX_PORT:
        return False
    try:
        return found["address"] is None or bool(IPv6Address(found["address"]))
    except ValueError:
        return False


@attrs.frozen
class NameParts:
    """A name as written: ``None`` where a part is absent, ``""`` where its separator promised one."""

    scheme: str | None
    host: str | None
    namespace: str | None
    model: str
    tag: str | None

    @classmethod
    def split(cls, text: str) -> Self:
        """Cut *text* into parts from the right, without judging them. What is left of the namespace is the host."""
        tag = None
        if text.rfind(":") > text.rfind("/"):
            text, _, tag = text.rpartition(":")
        rest, slash, model = text.rpartition("/")
        if not slash:
            return cls(None, None, None, model, tag)
        left, slash, namespace = rest.rpartition("/")
        if not slash:
            return cls(None, None, namespace, model, tag)
        scheme, mark, host = left.partition("://")
        if not mark:
            scheme, host = "", left
        return cls(scheme if mark else None, host, namespace, model, tag)

    @property
    def is_complete(self) -> bool:
        """Whether all four parts are there and legal (Ollama's ``ParseNameBare(s).IsValid()``)."""
        parts = zip(_PART, (self.host, self.namespace, self.model, self.tag), strict=True)
        return all(part is not None and is_valid_part(kind, part) for kind, part in parts)


@attrs.frozen
class ModelName:
    """A legal, fully qualified model name.

    Two names are equal when Ollama takes them for one model: the defaults are filled in and
    case does not count (``getExistingName`` in ollama ``server/routes.go``, v0.5.2+).

    Attributes:
        host: Registry host, with ``:port`` if it has one.
        namespace: Owner in that registry.
        model: Name within the namespace.
        tag: Variant, ``"latest"`` when not given.
        scheme: What stood before ``://``, which Ollama throws away; empty as a rule.
    """

    host: str = attrs.field(eq=str.lower)
    namespace: str = attrs.field(eq=str.lower)
    model: str = attrs.field(eq=str.lower)
    tag: str = attrs.field(default=DEFAULT_TAG, eq=str.lower)
    scheme: str = attrs.field(default="", eq=False)

    def __attrs_post_init__(self) -> None:
        for kind in _PART:
            part = getattr(self, kind)
            if not is_valid_part(kind, part):
                raise InvalidModelName(str(self), f"{kind} {shorten(part)} is not legal; expected {_EXPECTED[kind]}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the name of a push.

        Args:
            text: ``[host/]namespace/model[:tag]``, or ``host/model[:tag]`` where the host holds
                a ``.`` or ``:`` (it then means the namespace ``library`` on that host).

        Raises:
            InvalidModelName: It is not a ``str``.
                It breaks Ollama's grammar.
                It has no namespace.
        """
        parts = _split(text)
        namespace = parts.namespace
        if namespace is None:
            example = f"myuser/{parts.model[:80] or 'mymodel'}"
            raise InvalidModelName(text, f"a push needs a namespace; use the form '{example}'")
        host = parts.host
        if host is None and is_host_like(namespace):
            host, namespace = namespace, DEFAULT_NAMESPACE
        return cls._filled(text, parts, host, namespace)

    @classmethod
    def parse_local(cls, text: str) -> Self:
        """Read the name of a model in a local store, where ``my-llama`` alone is enough.

        Raises:
            InvalidModelName: It is not a ``str`` or breaks Ollama's grammar.
        """
        parts = _split(text)
        return cls._filled(text, parts, parts.host, parts.namespace)

    @classmethod
    def from_store_path(cls, path: str) -> Self | None:
        """Read ``host/namespace/model/tag``, a manifest's path below the store; ``None`` if it is none."""
        kinds = path.split("/")
        if len(kinds) != len(_PART) or not all(is_valid_part(k, p) for k, p in zip(_PART, kinds, strict=True)):
            return None
        return cls(*kinds)

    @classmethod
    def _filled(cls, text: str, parts: NameParts, host: str | None, namespace: str | None) -> Self:
        try:
            return cls(
                host=DEFAULT_HOST if host is None else host,
                namespace=DEFAULT_NAMESPACE if namespace is None else namespace,
                model=parts.model,
                tag=DEFAULT_TAG if parts.tag is None else parts.tag,
                scheme=parts.scheme or "",
            )
        except InvalidModelName as exc:
            raise InvalidModelName(text, exc.problem) from None

    @property
    def repository(self) -> str:
        """``namespace/model``, what registries call the repository."""
        return f"{self.namespace}/{self.model}"

    @property
    def is_default_host(self) -> bool:
        """Whether the name points to Ollama's own registry."""
        return self.host.lower() == DEFAULT_HOST

    @property
    def shortest(self) -> str:
        """The name without default host and namespace (Ollama's ``DisplayShortest``)."""
        if not self.is_default_host:
            return str(self)
        if self.namespace.lower() == DEFAULT_NAMESPACE:
            return f"{self.model}:{self.tag}"
        return f"{self.repository}:{self.tag}"

    def oci_problem(self) -> str | None:
        """Say what keeps an OCI registry from taking this name; ``None`` when nothing does.

        Registries are stricter than Ollama: lower case only, no leading ``_``.
        Source: distribution-spec v1.1, "Pulling manifests".
        """
        if not is_registry_host(self.host):
            return f"{shorten(self.host)} is no registry host; expected host or host:port"
        if _OCI_REPOSITORY.fullmatch(self.repository):
            return None
        if self.repository != self.repository.lower():
            host = "" if self.is_default_host else f"{self.host.lower()}/"
            return f"registries take lower case only; use {shorten(f'{host}{self.repository.lower()}')}"
        return f"{shorten(self.repository)} is no repository name; expected a-z 0-9 with single . _ - or __ between"

    def __str__(self) -> str:
        """Return ``[host/]namespace/model:tag``, without the host when it is Ollama's own."""
        prefix = "" if self.is_default_host else f"{self.host}/"
        return f"{prefix}{self.repository}:{self.tag}"


def _split(text: str) -> NameParts:
    if not isinstance(text, str):
        raise InvalidModelName(shorten(text), f"a model name is a str, not {type(text).__name__}")
    if not text.strip():
        raise InvalidModelName(text, "the model name is empty; use the form 'myuser/mymodel'")
    if text != text.strip():
        raise InvalidModelName(text, "spaces around a model name are not allowed")
    return NameParts.split(text)
