"""Upload sessions: a file that grows, and the hash that grows with it.

``uploads/ID`` holds the bytes and ``uploads/ID.repository`` says whose they are, so a session survives the
process; the hash does not, and is made anew from the file when it is asked for.
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
    """An upload that is neither finished nor gone.

    Attributes:
        repository: ``namespace/model``.
        id: As in its ``Location``.
        size: Bytes held.
    """

    repository: str
    id: str
    size: int


class Session:
    """One upload. Used on the server's loop only.

    Args:
        path: The file; it exists.
        repository: Where the blob goes.
    """

    def __init__(self, path: Path, repository: str) -> None:
        self.path = path
        self.repository = repository
        self.size = path.stat().st_size
        self.had_short_part = False
        self._hasher = hashlib.sha256()
        self._hashed = 0
        self._writer: object = None

    @property
    def id(self) -> str:
        """As in its ``Location``."""
        return self.path.name

    @property
    def digest(self) -> str:
        """Digest of what is held, once :meth:`catch_up` has run."""
        return f"sha256:{self._hasher.hexdigest()}"

    async def catch_up(self) -> None:
        """Hash what the file held before this process opened it."""
        if self._hashed < self.size:
            self._hasher = await asyncio.to_thread(_hash_of, self.path)
            self._hashed = self.size

    def begin(self) -> PartWriter:
        """Return a writer at the end of the file. A writer that is still open writes nothing more."""
        writer = PartWriter(self)
        self._writer = writer
        return writer

    def retire(self) -> None:
        """Stop whoever still writes: a file that is renamed or gone must not grow."""
        self._writer = None

    def is_written_by(self, writer: object) -> bool:
        """Say whether *writer* is the one that may append."""
        return self._writer is writer

    def append(self, data: memoryview, file: FileIO, writer: object) -> bool:
        """Write *data*; ``False`` when another writer took over."""
        if not self.is_written_by(writer):
            return False
        while data:
            count = file.write(data) or 0
            self._hasher.update(data[:count])
            self.size += count
            self._hashed += count
            data = data[count:]
        return True


class PartWriter:
    """Writes one part; a context manager, used on the server's loop only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Unbuffered: what was taken over is in the file, and counted, before the next byte is read.
        self._file: FileIO = session.path.open("ab", buffering=0)

    def write(self, data: bytes) -> bool:
        """Append *data*; ``False`` when another writer took over.

        Raises:
            OSError: The disk is full, for one.
        """
        return self._session.append(memoryview(data), self._file, self)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Sessions:
    """All open sessions. Looked at from any thread.

    Args:
        data: Folder; sessions that an earlier process left are found again.
    """

    def __init__(self, data: Path) -> None:
        self._folder = data / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        for path in self._folder.iterdir():
            marker = path.with_name(f"{path.name}.repository")
            if _ID.fullmatch(path.name) and marker.exists():
                self._open[path.name] = Session(path, marker.read_text())

    def start(self, repository: str) -> Session:
        """Open a session."""
        path = self._folder / str(uuid.uuid4())
        path.with_name(f"{path.name}.repository").write_text(repository)
        path.touch()
        session = Session(path, repository)
        with self._lock:
            self._open[session.id] = session
        return session

    def find(self, repository: str, identity: str) -> Session | None:
        """Return an open session of *repository*."""
        with self._lock:
            session = self._open.get(identity)
        return session if session is not None and session.repository == repository else None

    def drop(self, session: Session) -> None:
        """Forget a session and what it held, if anything is left of it."""
        with self._lock:
            self._open.pop(session.id, None)
        session.retire()
        session.path.unlink(missing_ok=True)
        session.path.with_name(f"{session.id}.repository").unlink(missing_ok=True)

    def all(self) -> list[Session]:
        """Return the open sessions."""
        with self._lock:
            return list(self._open.values())


def _hash_of(path: Path) -> hashlib._Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
