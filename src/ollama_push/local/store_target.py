"""Ollama's model store as a target: blobs, then the manifest, beside a server that may be running.

A server lists what has a manifest, and when it starts it removes blobs that no manifest names: the manifest is put at
once, last, and only after all blobs were seen again.

Source: ollama ``manifest/paths.go``, ``server/images.go`` (``PruneLayers``, ``Manifests``) at fb3076099.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ollama_push.core.errors import InvalidSetting, UsedAfterClose
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import BLOBS, MANIFESTS, Descriptor, Manifest, manifest_path
from ollama_push.core.registry.places import ReadRange, place_failed
from ollama_push.local.blob_files import BlobFolder, FileAccess, failing_as, write_visible
from ollama_push.local.store import ModelStore

__all__ = ["StoreTarget"]

_AT_ONCE: Final = 4


class StoreTarget:
    """Writes one model into Ollama's store (``core.registry.places.ModelTarget``).

    Args:
        store: The store; made when it is not there.
        name: Of the model; an existing one that differs in upper and lower case alone is replaced.
    """

    at_once: int = _AT_ONCE

    def __init__(self, store: ModelStore, name: ModelName) -> None:
        self._root = store.root
        self._store = store
        self._name = name
        self.label: str = f"ollama:{name.shortest}"
        self._closed = False

    def has(self, blob: Descriptor, /) -> bool:
        """Say whether the whole *blob* is there."""
        self._require_open()
        return self._blobs(FileAccess()).has(blob)

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        """Store *blob*; see ``ModelTarget``."""
        self._blobs(self._made()).put(blob, read)

    def put_manifest(self, manifest: Manifest, /) -> None:
        """Make the model visible to the server."""
        access = self._made()
        blobs = self._blobs(access)
        if not all(map(blobs.has, manifest.blobs)):
            raise place_failed(Side.TARGET, self.label, PlaceProblem.INCOMPLETE)
        with failing_as(self.label):
            path = self._root / manifest_path(self._spelled())
            top = self._root / MANIFESTS
            access.make_folder(path.parent, top)
            # Not beside the manifest, where a server would take it for another.
            write_visible(path, manifest.raw, access, beside=top)

    def close(self) -> None:
        """End the use of this object; nothing is open. Idempotent."""
        self._closed = True

    def _blobs(self, access: FileAccess) -> BlobFolder:
        return BlobFolder(self._root / BLOBS, self.label, access, "sha256-")

    def _made(self) -> FileAccess:
        """Make the store's folders, as Ollama's user where this process may."""
        self._require_open()
        with failing_as(self.label):
            access = FileAccess.like(_existing_above(self._root))
            for folder in (self._root / MANIFESTS, self._root / BLOBS):
                access.make_folder(folder, _existing_above(folder))
        return access

    def _spelled(self) -> ModelName:
        try:
            return next((model for model in self._store.models() if model == self._name), self._name)
        except InvalidSetting:
            return self._name

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)


def _existing_above(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
