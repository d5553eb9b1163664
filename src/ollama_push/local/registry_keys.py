"""The keys under which docker and podman keep the login for a registry, and which keys mean the same registry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ollama_push.core.errors import InvalidSetting

__all__ = ["key_for", "keys_for", "namespace_keys"]

_DOCKER_HUB: Final = "https://index.docker.io/v1/"
"""The key of Docker Hub in files and for helpers (docker/cli ``registry.IndexServer``)."""
_DOCKER_HUB_HOSTS: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")


def key_for(host: str) -> str:
    """Return the key of *host* in files and for credential helpers.

    >>> key_for("https://registry.example.com/v2/"), key_for("docker.io")
    ('registry.example.com', 'https://index.docker.io/v1/')

    Raises:
        InvalidSetting: It is not ``host`` or ``host:port``, with or without a scheme and ``/v1/`` or ``/v2/``.
    """
    name = _host_in(host.strip())
    if name is None or not _HOST.fullmatch(name):
        # Hidden, because it may be user:password@host.
        shown = "<hidden>" if "@" in host else host
        raise InvalidSetting("registry", shown, "this is no registry; expected host or host:port")
    return _DOCKER_HUB if name in _DOCKER_HUB_HOSTS else name


def keys_for(host: str, keys: Iterable[str]) -> list[str]:
    """Return those of *keys* that mean *host*, the key of :func:`key_for` first.

    A key with a namespace (``host/namespace``) does not mean a host; see :func:`namespace_keys`.

    Source: docker/cli ``cli/config/credentials/file_store.go`` (``ConvertToHostname``); containers-auth.json(5).
    """
    usual = key_for(host)
    name = _canonical(usual)
    return sorted((key for key in keys if _canonical(key) == name), key=lambda key: key != usual)


def namespace_keys(host: str, repository: str, keys: Iterable[str]) -> list[str]:
    """Return those of *keys* that mean *repository* at *host*, or one of its parents, the longest first.

    >>> namespace_keys("quay.io", "team/sub/m", ["quay.io", "quay.io/team", "quay.io/tea", "quay.io/team/sub/m"])
    ['quay.io/team/sub/m', 'quay.io/team']

    Source: containers-auth.json(5), "FORMAT".
    """
    name, found = _canonical(key_for(host)), dict[str, str]()
    for key in keys:
        place, _, namespace = key.partition("/")
        namespace = namespace.strip("/")
        if namespace and _canonical(place) == name and f"{repository}/".startswith(f"{namespace}/"):
            found[key] = namespace
    return sorted(found, key=lambda key: len(found[key]), reverse=True)


def _canonical(key: str) -> str | None:
    name = _host_in(key)
    return "docker.io" if name in _DOCKER_HUB_HOSTS else name


def _host_in(key: str) -> str | None:
    scheme, mark, rest = key.partition("://")
    if not mark:
        rest = scheme
    elif scheme.lower() not in {"http", "https"}:
        return None
    name, _, path = rest.partition("/")
    # The path of a key with a scheme is ignored, as docker does; without a scheme, the path is a namespace.
    if not mark and path.strip("/") not in {"", "v1", "v2"}:
        return None
    return name.lower()
