"""An OCI image layout in a folder, as a source and as a target.

Source: OCI image-spec v1.1, "Image Layout Specification".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ollama_push.core.errors import UsedAfterClose
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.manifests import Descriptor, Manifest, hex_of
from ollama_push.core.registry.places import ReadRange, manifest_of, place_failed
from ollama_push.local.blob_files import BlobFolder, FileAccess, failing_as, write_visible
from ollama_push.local.file_source import FileModel
from ollama_push.local.files import BlobFile, identity_of, open_regular, place_of, problem_text, read_regular
from ollama_push.local.oci.index import INDEX, LAYOUT, LAYOUT_CONTENT, MAX_INDEX_BYTES, Index

__all__ = ["OciLayout", "OciLayoutTarget"]

_BLOBS: Final = "blobs/sha256"
_AT_ONCE: Final = 4


class OciLayout:
    """A layout that is there.

    Args:
        folder: The one with ``index.json``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(folder)
        self.label: str = f"oci:{self.folder}"

    def refs(self) -> tuple[str, ...]:
        """Return the names of its models, in order.

        Raises:
            PushRejected: It cannot be read.
        """
        return self._index().refs()

    def model(self, ref: str | None = None) -> FileModel:
        """Return the model *ref*, or the only one.

        Raises:
            PushRejected: It is not there, or cannot be read.
        """
        label = self.label if ref is None else f"{self.label}:{ref}"
        entry = self._index().find(ref, label)
        with self._failing():
            places = (self.folder.resolve(),)
            raw = read_regular(place_of(self._blob(entry.digest), places), MAX_INDEX_BYTES)
        manifest = manifest_of(raw, label)
        if manifest.digest != entry.digest:
            raise place_failed(Side.SOURCE, label, PlaceProblem.OTHER_BYTES, digest=entry.digest)
        return FileModel(label, manifest, {blob.digest: self._file(blob, places, label) for blob in manifest.blobs})

    def _index(self) -> Index:
        with self._failing():
            return Index.parse(read_regular(place_of(self.folder / INDEX, (self.folder.resolve(),)), MAX_INDEX_BYTES))

    def _blob(self, digest: str) -> Path:
        return self.folder / _BLOBS / hex_of(digest)

    def _file(self, blob: Descriptor, places: tuple[Path, ...], label: str) -> BlobFile:
        try:
            real = place_of(self._blob(blob.digest), places)
            descriptor = open_regular(real)
        except FileNotFoundError as exc:
            raise place_failed(Side.SOURCE, label, PlaceProblem.NO_BLOB, digest=blob.digest) from exc
        except (OSError, ValueError) as exc:
            words = problem_text(exc)
            raise place_failed(Side.SOURCE, label, PlaceProblem.BROKEN, digest=blob.digest, words=words) from exc
        try:
            state = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if state.st_size != blob.size:
            problem = PlaceProblem.ENDS_EARLY if state.st_size < blob.size else PlaceProblem.TOO_LONG
            raise place_failed(Side.SOURCE, label, problem, digest=blob.digest)
        return BlobFile(real, blob.size, identity_of(state))

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as exc:
            words = f"this is no OCI layout: there is no {exc.filename}"
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.BROKEN, words=words) from exc
        except (OSError, ValueError) as exc:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.BROKEN, words=problem_text(exc)) from exc


class OciLayoutTarget:
    """Writes one model into a layout, which is made when it is not there (``core.registry.places.ModelTarget``).

    Args:
        folder: Of the layout; the one above it exists.
        ref: Name of the model in it; ``None`` for a model without a name.
    """

    at_once: int = _AT_ONCE

    def __init__(self, folder: str | os.PathLike[str], ref: str | None = None) -> None:
        self._folder = Path(folder)
        self._ref = ref
        self.label: str = f"oci:{folder}" if ref is None else f"oci:{folder}:{ref}"
        self._access = FileAccess()
        self._blobs = BlobFolder(self._folder / _BLOBS, self.label, self._access)
        self._closed = False

    def has(self, blob: Descriptor, /) -> bool:
        """Say whether the whole *blob* is there."""
        self._require_open()
        return self._blobs.has(blob)

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        """Store *blob*; see ``ModelTarget``."""
        self._make()
        self._blobs.put(blob, read)

    def put_manifest(self, manifest: Manifest, /) -> None:
        """Put *manifest* into the index."""
        self._make()
        if not all(map(self._blobs.has, manifest.blobs)):
            raise place_failed(Side.TARGET, self.label, PlaceProblem.INCOMPLETE)
        with failing_as(self.label), _alone(self._folder):
            path = self._folder / INDEX
            try:
                before = Index.parse(read_regular(path, MAX_INDEX_BYTES)) if os.path.lexists(path) else Index()
            except ValueError as exc:
                words = f"its {INDEX} cannot be read: {exc}"
                raise place_failed(Side.TARGET, self.label, PlaceProblem.BROKEN, words=words) from exc
            write_visible(self._blobs.path(manifest.digest), manifest.raw, self._access)
            write_visible(self._folder / LAYOUT, LAYOUT_CONTENT, self._access)
            write_visible(path, before.with_model(manifest, self._ref).to_json(), self._access)

    def close(self) -> None:
        """End the use of this object; nothing is open. Idempotent."""
        self._closed = True

    def _make(self) -> None:
        self._require_open()
        with failing_as(self.label):
            self._access.make_folder(self._folder / _BLOBS, self._folder)

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time change the index: it is read, and written again."""
    from filelock import FileLock  # noqa: PLC0415 - loaded when something is written

    lock = folder / ".ollama-push.lock"
    with FileLock(lock):
        yield
