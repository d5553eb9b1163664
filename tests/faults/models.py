"""What the plans move, and whether it is somewhere: read from disk by code that shares nothing with ours."""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
from pathlib import Path
from typing import Final

import attrs
from tests.faults.plans import Plan, Task
from tests.support.stores import CONFIG, put_blob, put_manifest, put_model

from ollama_push.testing.registry.store import Store, StoredManifest

__all__ = ["LOCAL", "REPOSITORY", "Model", "in_archive", "in_registry", "in_store", "models_of"]

REPOSITORY: Final = "myuser/my-llama"
LOCAL: Final = "registry.ollama.ai/library/my-llama/latest"
_MEDIA_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"


@attrs.frozen
class Model:
    """A model of which all bytes are known.

    Attributes:
        tag: Of it in the registry.
        layers: Bytes of each.
        raw: Bytes of the manifest.
    """

    tag: str
    layers: tuple[bytes, ...] = attrs.field(repr=False)
    raw: bytes = attrs.field(repr=False)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """All that the manifest names."""
        return (*self.layers, CONFIG)

    def put_into_registry(self, folder: Path) -> None:
        """Write it to the disk of an embedded registry."""
        store = Store(folder)
        for data in self.blobs:
            content = folder / "content"
            content.write_bytes(data)
            store.adopt(content, REPOSITORY, f"sha256:{_hex(data)}")
        store.put_manifest(REPOSITORY, StoredManifest(self.raw, _MEDIA_TYPE), self.tag)

    def put_into_store(self, root: Path, host: str) -> None:
        """Write it to a model store, as what was pushed to *host*."""
        for data in self.blobs:
            put_blob(root, data)
        put_manifest(root, f"{host}/{REPOSITORY}/{self.tag}", self.raw)


def models_of(plan: Plan, root: Path) -> tuple[Model, ...]:
    """Make the models of *plan*; the first is in the store *root* as ``my-llama``."""
    chance = random.Random(plan.seed)
    shared = tuple(chance.randbytes(size) for size in plan.layers)
    count = 3 if plan.task is Task.LIST else 1
    all_layers = [shared, *((shared[-1], chance.randbytes(2000 * number)) for number in range(1, count))]
    raws = [put_model(root, LOCAL, layers) for layers in reversed(all_layers)][::-1]
    return tuple(
        Model(f"v{number}", layers, raw) for number, (layers, raw) in enumerate(zip(all_layers, raws, strict=True), 1)
    )


def in_registry(folder: Path, model: Model) -> str:
    """Say what of *model* the registry with its disk in *folder* does not hold; empty when it holds exactly that."""
    repository = folder / "repositories" / REPOSITORY
    tag = repository / "_tags" / model.tag
    manifest = repository / "_manifests" / _hex(model.raw)
    if not tag.exists() or tag.read_text() != f"sha256:{_hex(model.raw)}" or manifest.read_bytes() != model.raw:
        return f"the registry has no such manifest of {model.tag}"
    for data in model.blobs:
        blob = folder / "blobs" / "sha256" / _hex(data)
        if not (repository / "_blobs" / _hex(data)).exists() or not blob.exists() or blob.read_bytes() != data:
            return f"the registry lacks a blob of {len(data)} bytes"
    return ""


def in_store(root: Path, model: Model) -> str:
    """Say what of *model* the store does not hold; "there is no …" says that nothing of it is visible."""
    manifests = [path.read_bytes() for path in root.glob("manifests/**/*") if path.is_file()]
    if model.raw not in manifests:
        return "there is no manifest in the store" if not manifests else "the store has another manifest"
    for data in model.blobs:
        blob = root / "blobs" / f"sha256-{_hex(data)}"
        if not blob.exists() or blob.read_bytes() != data:
            return f"the store has the manifest, and lacks a blob of {len(data)} bytes"
    return ""


def in_archive(path: Path, model: Model) -> str:
    """Say what of *model* the archive does not hold; likewise."""
    if not path.exists():
        return "there is no archive"
    try:
        with tarfile.open(path) as archive:
            held = {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}
    except (tarfile.TarError, EOFError):
        return "the archive is there, and is none"
    index = json.loads(held.get("index.json", b"{}"))
    if [each["digest"] for each in index.get("manifests", [])] != [f"sha256:{_hex(model.raw)}"]:
        return "the archive is there, and lists no such manifest"
    for data in (model.raw, *model.blobs):
        if held.get(f"blobs/sha256/{_hex(data)}") != data:
            return f"the archive is there, and lacks a blob of {len(data)} bytes"
    return ""


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
