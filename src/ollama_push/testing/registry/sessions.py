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
