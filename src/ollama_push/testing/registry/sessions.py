"""Upload sessions: a file that grows, and the hash that grows with it.

``uploads/ID`` holds the bytes and ``uploads/ID.repository`` says whose they are, so a session survives the
process; the hash does not, and is computed from the file when it is needed again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import uuid
from io import FileIO
from pathlib import Path
from typing import Final

import attrs

__all__ = ["OpenSession", "Session", "Sessions"]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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


class Session:
    """One upload session. Used on the server's loop only.

    Args:
        path: The file; it exists.
        repository: Repository that gets the blob.
    """

    def __init__(self, path: Path, repository: str) -> None:
        self.path = path
        self.repository = repository
        self.size: int = path.stat().st_size
        self.had_short_part = False
        self._hasher = hashlib.sha256()
        self._is_hashed = self.size == 0
        self._writer: PartWriter | None = None

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

    def begin(self) -> PartWriter:
        """Return a writer at the end of the file. A writer that is still open writes nothing more."""
        writer = PartWriter(self)
        self._writer = writer
        return writer

    def retire(self) -> None:
        """Stop the writer: a file that was renamed or deleted must not grow."""
        self._writer = None

    def is_written_by(self, writer: PartWriter) -> bool:
        """Say whether *writer* is the one that may append."""
        return self._writer is writer

    def grow(self, data: memoryview) -> None:
        """Count and hash *data*, which was appended to the file."""
        self._hasher.update(data)
        self.size += len(data)


class PartWriter:
    """Writes one part. Used on the server's loop only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Unbuffered: what was written is in the file, and counted, before the next byte is read.
        self._file: FileIO = session.path.open("ab", buffering=0)

    def write(self, data: bytes) -> bool:
        """Append *data*; ``False`` when another writer took over.

        Raises:
            OSError: The disk is full, for one.
        """
        if not self._session.is_written_by(self):
            return False
        rest = memoryview(data)
        while rest:
            count = self._file.write(rest) or 0
            self._session.grow(rest[:count])
            rest = rest[count:]
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
        session.retire()
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
