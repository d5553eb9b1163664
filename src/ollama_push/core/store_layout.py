"""Where Ollama's model store keeps manifests and blobs: paths below its root, with ``/`` between the parts.

Source: ollama ``manifest/paths.go`` at fb3076099.
"""

from __future__ import annotations

from typing import Final

from ollama_push.core.names import ModelName
from ollama_push.core.registry.digests import checked_digest, hex_of

__all__ = ["BLOBS", "MANIFESTS", "blob_path", "manifest_path"]

MANIFESTS: Final = "manifests"
BLOBS: Final = "blobs"


def manifest_path(name: ModelName) -> str:
    """Return the path of the manifest of *name*."""
    return f"{MANIFESTS}/{name.host}/{name.repository}/{name.tag}"


def blob_path(digest: str) -> str:
    """Return the path of the blob *digest*.

    Raises:
        ValueError: *digest* is no digest.
    """
    return f"{BLOBS}/sha256-{hex_of(checked_digest(digest))}"
