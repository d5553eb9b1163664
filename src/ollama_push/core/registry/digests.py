"""Digests: what a blob is called everywhere but on disk.

Source: opencontainers/image-spec v1.1, "Digests"; ollama ``manifest/paths.go`` for the spelling with a dash.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["checked_digest", "digest_of", "hex_of", "short_digest"]

_SHORT: Final = 12

# Ollama takes both spellings and both cases; registries take a colon and lower case only.
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def checked_digest(text: str) -> str:
    """Return *text* as ``"sha256:"`` plus 64 lower-case hex digits.

    Raises:
        ValueError: It is no SHA-256 digest in either of Ollama's spellings.
    """
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise ValueError("invalid digest format")
    return f"sha256:{found[1].lower()}"


def digest_of(data: bytes) -> str:
    """Return the digest of *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hex_of(digest: str) -> str:
    """Return the 64 hex digits of a checked *digest*."""
    return digest.removeprefix("sha256:")


def short_digest(digest: str) -> str:
    """Return *digest* as people are shown it: its first 12 hex digits, as Ollama does."""
    return hex_of(digest)[:_SHORT]
