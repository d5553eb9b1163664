"""What is known of a host or a URL from its text alone."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

__all__ = ["DEFAULT_PORTS", "is_loopback", "is_ollama_cloud", "origin_of"]

DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
"""The port of a URL that names none (RFC 9110, 4.2.1 and 4.2.2)."""


def is_loopback(host: str) -> bool:
    """Say whether *host* (a name or address, brackets optional) is this machine by definition."""
    bare = host.strip("[]").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ip_address(bare).is_loopback
    except ValueError:
        return False


def is_ollama_cloud(host: str) -> bool:
    """Say whether a registry *host* is Ollama's own (ollama ``cmd/cmd.go``, v0.12.3+)."""
    name = host.partition(":")[0].lower()
    return name.endswith((".ollama.ai", ".ollama.com")) or name in {"ollama.ai", "ollama.com"}


def origin_of(url: str) -> str:
    """Return scheme, host and port of *url*: what may be shown, and what credentials belong to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
