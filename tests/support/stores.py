"""Builds small model stores on disk, as Ollama lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.blobs import digest_of

CONFIG = b'{"model_format":"gguf"}'
LAYERS = (b"weights " * 1000, b"a template", b"")


def put_blob(root: Path, data: bytes, *, mark: str = "-") -> Path:
    path = root / "blobs" / digest_of(data).replace(":", mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def descriptor(data: bytes, media_type: str = "application/vnd.ollama.image.model") -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def put_manifest(root: Path, path: str, raw: bytes) -> Path:
    file = root / "manifests" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(raw)
    return file


def put_models(root: Path, count: int) -> list[str]:
    """Write *count* small models, which share a layer, and return their local names."""
    for number in range(count):
        own = f"weights of {number} ".encode() * 100
        put_model(root, f"registry.ollama.ai/library/m{number}/latest", (own, b"a licence of all"))
    return [f"m{number}" for number in range(count)]


def put_model(
    root: Path,
    path: str = "registry.ollama.ai/library/my-llama/latest",
    layers: tuple[bytes, ...] = LAYERS,
    *,
    mark: str = "-",
) -> bytes:
    """Write a model at ``host/namespace/model/tag`` and return its manifest's bytes."""
    for data in (*layers, CONFIG):
        put_blob(root, data, mark=mark)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": descriptor(CONFIG, "application/vnd.docker.container.image.v1+json"),
        "layers": [descriptor(data) for data in layers],
    }
    raw = json.dumps(manifest, separators=(",", ":")).encode()
    put_manifest(root, path, raw)
    return raw
