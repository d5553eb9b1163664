"""Blobs, manifests, tags and open uploads on disk.

``blobs/sha256/HEX`` holds the content of a blob once; ``repositories/NAME/_blobs/HEX`` is an empty file that
says the repository has the blob. No component of a repository's name starts with ``_``, so repositories nest
without clashing.

``uploads/ID`` holds the bytes of an upload session and ``uploads/ID.repository`` says whose they are, so a session
survives the process; the hash does not, and is computed from the file when it is needed again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
import threading
import uuid
from io import FileIO
from pathlib import Path
from typing import Final

import attrs

from ollama_push.core.registry.manifests import digest_of, hex_of

__all__ = ["OpenSession", "Session", "Sessions", "SignedPart", "Store", "StoredManifest"]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    """The blobs, manifests and tags. Every argument must be valid by :mod:`.refused`.

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


@attrs.frozen
class OpenSession:
    """An upload that is neither finished nor cancelled.

    Attributes:
        repository: ``namespace/model``.
        id: Its part of the path in ``Location``.
        size: Bytes held.
    """

    repository: str
    id: str
    size: int


@attrs.define(eq=False)
class SignedPart:
    """What may be sent to one signed URL, a part of a blob or all of it.

    Attributes:
        path: Where it is kept.
        size: How many bytes it must have.
        digest: Of the blob, where that was signed, too.
        md5: Of what was sent; empty until it was.
    """

    path: Path
    size: int
    digest: str = ""
    md5: str = ""


class Session:
    """One upload session. Used on the server's loop only.

    Args:
        path: The file; it exists.
        repository: Repository that gets the blob.

    Attributes:
        writer: The file of the part that may grow the session. ``None`` when there is none: a file that was renamed or
            deleted must not grow.
    """

    def __init__(self, path: Path, repository: str) -> None:
        self.path = path
        self.repository = repository
        self.size: int = path.stat().st_size
        self.had_short_part = False
        self.writer: FileIO | None = None
        self._hasher = hashlib.sha256()
        self._is_hashed = self.size == 0

    @property
    def id(self) -> str:
        """Its part of the path in ``Location``."""
        return self.path.name

    @property
    def digest(self) -> str:
        """Digest of what is held, once :meth:`catch_up` has run."""
        return f"sha256:{self._hasher.hexdigest()}"

    async def catch_up(self) -> None:
        """Hash what the file held before this process opened it."""
        if not self._is_hashed:
            hasher = await asyncio.to_thread(_hash_of, self.path)
            if not self._is_hashed:  # another request may have hashed the file, and appended, in the meantime
                self._hasher, self._is_hashed = hasher, True

    def replaced(self, hasher: hashlib._Hash) -> None:
        """Take note that the file has another content, which *hasher* has seen."""
        self.size = self.path.stat().st_size
        self._hasher, self._is_hashed = hasher, True

    def begin(self) -> FileIO:
        """Open the file for a part. A part that is still under way adds nothing more."""
        # Unbuffered: what was written is in the file, and counted, before the next byte is read.
        self.writer = self.path.open("ab", buffering=0)
        return self.writer

    def append(self, writer: FileIO, data: bytes) -> bool:
        """Append *data* with what :meth:`begin` returned; ``False`` when another request took over.

        Raises:
            OSError: The disk is full, for one.
        """
        if self.writer is not writer:
            return False
        rest = memoryview(data)
        while rest:
            count = writer.write(rest) or 0
            self._hasher.update(rest[:count])
            self.size += count
            rest = rest[count:]
        return True


class Sessions:
    """All open sessions. Safe to read from any thread.

    Args:
        data: Folder; sessions of an earlier process are found again.
    """

    def __init__(self, data: Path) -> None:
        self._folder = data / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        for path in self._folder.iterdir():
            marker = _marker_of(path)
            if _ID.fullmatch(path.name) and marker.exists():
                self._open[path.name] = Session(path, marker.read_text())

    def start(self, repository: str) -> Session:
        """Open a session."""
        path = self._folder / str(uuid.uuid4())
        _marker_of(path).write_text(repository)
        path.touch()
        session = Session(path, repository)
        with self._lock:
            self._open[session.id] = session
        return session

    def find(self, repository: str, session_id: str) -> Session | None:
        """Return an open session of *repository*."""
        with self._lock:
            session = self._open.get(session_id)
        return session if session is not None and session.repository == repository else None

    def drop(self, session: Session) -> None:
        """Forget a session and delete what is left of its files."""
        with self._lock:
            self._open.pop(session.id, None)
        session.writer = None
        session.path.unlink(missing_ok=True)
        _marker_of(session.path).unlink(missing_ok=True)

    def all(self) -> list[Session]:
        """Return the open sessions."""
        with self._lock:
            return list(self._open.values())


def _marker_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.repository")


def _hash_of(path: Path) -> hashlib._Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
