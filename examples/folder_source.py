"""A folder as Hugging Face has them: every file becomes a layer of an OCI artifact, under its own name.

Registries keep such models beside those of Ollama; ``oras pull`` writes the folder again.

    with RegistryClient() as client:
        client.copy(folder_source("./Qwen2.5-0.5B"), "registry.example.com/team/qwen:v1")
"""

from __future__ import annotations

import json
from pathlib import Path

from ollama_push.core.registry.manifests import digest_of
from ollama_push.core.registry.places import manifest_of
from ollama_push.local import BlobFile, FileModel
from ollama_push.local.create.hashes import HashMemory

ARTIFACT = "application/vnd.huggingface.model"
TITLE = "org.opencontainers.image.title"
EMPTY = b"{}"


def folder_source(folder: str | Path, hashes: HashMemory | None = None) -> FileModel:
    """Return a source of all files of *folder*; they are hashed once, and not copied."""
    hashes = hashes or HashMemory()
    files: dict[str, BlobFile | bytes] = {digest_of(EMPTY): EMPTY}
    layers = []
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or any(part.startswith(".") for part in Path(name).parts):
            continue  # folders, and what git and the hub keep beside the model
        digest, file = hashes.hash(path)
        files[digest] = file
        kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
        layers.append({"mediaType": kind, "digest": digest, "size": file.size, "annotations": {TITLE: name}})
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": ARTIFACT,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(EMPTY), "size": len(EMPTY)},
        "layers": layers,
    }
    label = f"folder:{folder}"
    return FileModel(label, manifest_of(json.dumps(manifest).encode(), label), files)
