"""Bytes to push, and their digests."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["MIB", "digest_of", "noise"]

MIB: Final = 1024 * 1024


def digest_of(data: bytes) -> str:
    """Return the digest of *data*; computed here, so that a fault of ours in digests is not repeated in its test."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def noise(size: int, seed: int = 0) -> bytes:
    """Return *size* bytes of which no two stretches are alike."""
    return hashlib.shake_128(bytes([seed])).digest(size)
