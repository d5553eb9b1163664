"""Blobs, manifests and tags on disk.

``blobs/sha256/HEX`` holds the content of a blob once; ``repositories/NAME/_blobs/HEX`` is an empty file that
says the repository has the blob. No component of a repository's name starts with ``_``, so repositories nest
without clashing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import attrs

from ollama_push.core.registry.manifests import digest_of, hex_of

__all__ = ["Store", "StoredManifest"]


@attrs.frozen
class StoredManifest:
    """A manifest as it was pushed.

    Attributes:
        raw: Its bytes.
        media_type: Media type as announced.
    """

    raw: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Digest of the bytes."""
        return digest_of(self.raw)


class Store:
    """The blobs, manifests and tags. Every argument must be valid by :mod:`.grammar`.

    Args:
        data: Folder; created when missing.
    """

    def __init__(self, data: Path) -> None:
        self._blobs = data / "blobs" / "sha256"
        self._repositories = data / "repositories"
        for folder in (self._blobs, self._repositories):
            folder.mkdir(parents=True, exist_ok=True)

    def blob_path(self, digest: str) -> Path:
        """Return where the content of *digest* is, or would be."""
        return self._blobs / hex_of(digest)

    def holds(self, repository: str, digest: str) -> bool:
        """Say whether *repository* has the blob."""
        return self._link(repository, digest).exists() and self.blob_path(digest).exists()

    def adopt(self, content: Path, repository: str, digest: str) -> None:
        """Move the file *content* in as the blob *digest* of *repository*."""
        content.replace(self.blob_path(digest))
        self.link(repository, digest)

    def link(self, repository: str, digest: str) -> None:
        """Give *repository* a blob that the store has."""
        link = self._link(repository, digest)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.touch()

    def unlink(self, repository: str, digest: str) -> None:
        """Take the blob from *repository*; its content stays, as other repositories may have the blob."""
        self._link(repository, digest).unlink(missing_ok=True)

    def put_manifest(self, repository: str, manifest: StoredManifest, tag: str | None) -> None:
        """Store *manifest*, and point *tag* at it."""
        folder = self._folder(repository, "_manifests")
        folder.mkdir(parents=True, exist_ok=True)
        name = hex_of(manifest.digest)
        _write(folder / f"{name}.type", manifest.media_type.encode())
        _write(folder / name, manifest.raw)
        if tag is not None:
            tags = self._folder(repository, "_tags")
            tags.mkdir(parents=True, exist_ok=True)
            _write(tags / tag, manifest.digest.encode())

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """Return a manifest by tag or digest."""
        digest = reference
        with contextlib.suppress(FileNotFoundError):
            if ":" not in reference:
                digest = (self._folder(repository, "_tags") / reference).read_text()
            path = self._folder(repository, "_manifests") / hex_of(digest)
            return StoredManifest(path.read_bytes(), path.with_suffix(".type").read_text())
        return None

    def manifests(self, repository: str) -> list[StoredManifest]:
        """Return all manifests of *repository*, ordered by digest."""
        names = sorted(path.stem for path in self._folder(repository, "_manifests").glob("*.type"))
        found = (self.manifest(repository, f"sha256:{name}") for name in names)
        return [manifest for manifest in found if manifest is not None]

    def tags(self, repository: str) -> list[str]:
        """Return the tags of *repository* in order."""
        folder = self._folder(repository, "_tags")
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def has_repository(self, repository: str) -> bool:
        """Say whether anything was ever pushed to *repository*."""
        return any(self._folder(repository, kind).is_dir() for kind in ("_blobs", "_manifests"))

    def delete_manifest(self, repository: str, reference: str) -> bool:
        """Delete a tag, or a manifest with all its tags; ``False`` when there is none."""
        found = self.manifest(repository, reference)
        if found is None:
            return False
        tags = self._folder(repository, "_tags")
        if ":" not in reference:
            (tags / reference).unlink()
            return True
        for tag in self.tags(repository):
            if (tags / tag).read_text() == reference:
                (tags / tag).unlink()
        path = self._folder(repository, "_manifests") / hex_of(reference)
        path.unlink()
        path.with_suffix(".type").unlink()
        return True

    def _link(self, repository: str, digest: str) -> Path:
        return self._folder(repository, "_blobs") / hex_of(digest)

    def _folder(self, repository: str, kind: str) -> Path:
        return self._repositories / repository / kind


def _write(path: Path, content: bytes) -> None:
    """Write *content* so that a reader sees the old file or the whole new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink()
        raise
