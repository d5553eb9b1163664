"""A model whose blobs are files, parts of files, or small enough to be held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Self

from ollama_push.core.errors import UsedAfterClose
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.places import place_failed
from ollama_push.core.responses import BodyWatch
from ollama_push.local.bodies import BlobBody, BodyCancelled, MemoryBody
from ollama_push.local.files import BlobFile
from ollama_push.local.hashing import rehash
from ollama_push.local.store import StoredModel

__all__ = ["FileModel", "blob_body"]


def blob_body(
    blob: BlobFile | bytes,
    offset: int,
    size: int,
    *,
    moved: Callable[[int], None],
    cancelled: Callable[[], bool],
    watch: BodyWatch | None = None,
) -> BlobBody | MemoryBody:
    """Return the body for a range of *blob*; arguments are those of ``BlobBody``."""
    if isinstance(blob, bytes):
        return MemoryBody(blob[offset : offset + size], moved=moved, watch=watch)
    return BlobBody(blob, offset, size, moved=moved, cancelled=cancelled, watch=watch)


class FileModel:
    """A source of this machine's files (``core.registry.places.ModelSource``).

    Args:
        label: How people are told where the model comes from.
        manifest: As it is.
        files: Where the bytes of each blob of the manifest are, by digest.
    """

    def __init__(self, label: str, manifest: Manifest, files: Mapping[str, BlobFile | bytes]) -> None:
        self.label = label
        self.manifest = manifest
        self.files: Mapping[str, BlobFile | bytes] = files
        self._closed = False

    @classmethod
    def of(cls, stored: StoredModel) -> Self:
        """Return the source for a model of Ollama's store."""
        return cls(f"ollama:{stored.name.shortest}", stored.manifest, stored.files)

    def read_manifest(self) -> bytes:
        """Return the manifest as it is."""
        self._require_open()
        return self.manifest.raw

    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        """Yield *size* bytes of the blob *digest* from *offset* on."""
        self._require_open()
        blob = self.files.get(digest)
        if blob is None:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.NO_BLOB, digest=digest)
        held = len(blob) if isinstance(blob, bytes) else blob.size
        if offset + size > held:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.ENDS_EARLY, digest=digest)
        return self._pieces(blob, offset, size)

    def _pieces(self, blob: BlobFile | bytes, offset: int, size: int) -> Iterator[bytes | memoryview]:
        if not size:
            return
        try:
            yield from blob_body(blob, offset, size, moved=lambda _count: None, cancelled=lambda: self._closed)
        except BodyCancelled:
            raise UsedAfterClose(type(self).__name__) from None

    def rehash(self, digest: str, *, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Read the blob *digest* and say whether its content has that digest; see ``StoredModel.rehash``."""
        return rehash(self.files[digest], digest, cancelled)

    def close(self) -> None:
        """End what still reads. Idempotent."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
