"""Writes models of many megabytes into a store, without ever holding them in memory."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import attrs
from tests.support.blobs import MIB
from tests.support.stores import CONFIG, descriptor, put_blob, put_manifest

__all__ = ["LargeModel", "put_large_model"]


@attrs.frozen
class LargeModel:
    """A model in a store.

    Attributes:
        root: The store.
        layers: Digest of each layer, in order.
        sizes: Bytes of each layer, in order.
        raw: The manifest.
    """

    root: Path
    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    raw: bytes

    @property
    def total_bytes(self) -> int:
        """Bytes of all layers and the config."""
        return sum(self.sizes) + len(CONFIG)


def put_large_model(root: Path, *sizes: int) -> LargeModel:
    """Write ``my-llama`` with layers of *sizes* pseudo-random bytes, the same ones each time."""
    layers = [_put_layer(root, size, seed) for seed, size in enumerate(sizes)]
    put_blob(root, CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": descriptor(CONFIG, "application/vnd.docker.container.image.v1+json"),
        "layers": layers,
    }
    raw = json.dumps(manifest, separators=(",", ":")).encode()
    put_manifest(root, "registry.ollama.ai/library/my-llama/latest", raw)
    return LargeModel(root, tuple(layer["digest"] for layer in layers), sizes, raw)


def _put_layer(root: Path, size: int, seed: int) -> dict[str, Any]:
    source, hasher = random.Random(seed), hashlib.sha256()
    unnamed = root / "blobs" / f"layer-{seed}"
    unnamed.parent.mkdir(parents=True, exist_ok=True)
    with unnamed.open("wb") as file:
        for start in range(0, size, MIB):
            data = source.randbytes(min(MIB, size - start))
            hasher.update(data)
            file.write(data)
    unnamed.rename(root / "blobs" / f"sha256-{hasher.hexdigest()}")
    return {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{hasher.hexdigest()}",
        "size": size,
    }
