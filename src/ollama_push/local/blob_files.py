"""Writes blobs into a folder: each under a name of its own until its bytes are proved, and resumed where it stood."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Final

import attrs

from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.manifests import Descriptor, hex_of
from ollama_push.core.registry.places import ReadRange, place_failed
from ollama_push.local.files import open_regular, problem_text
from ollama_push.local.hashing import hash_range

__all__ = ["BlobFolder", "FileAccess", "failing_as", "lock_file", "write_all", "write_hashed", "write_visible"]

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755


@attrs.frozen
class FileAccess:
    """Who owns what is written.

    Attributes:
        owner: User and group that new files get; ``None`` for those of this process.
    """

    owner: tuple[int, int] | None = None

    @classmethod
    def like(cls, folder: Path) -> FileAccess:
        """Return the owner of *folder* as that of new files, where this process may give files away."""
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            return cls()
        state = folder.stat()
        return cls((state.st_uid, state.st_gid))

    def make_folder(self, folder: Path, top: Path) -> None:
        """Make *folder* and those above it up to *top*, readable for all as Ollama's are."""
        if folder == top or folder.is_dir():
            folder.mkdir(_FOLDER_MODE, exist_ok=True)
            return
        self.make_folder(folder.parent, top)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(_FOLDER_MODE)
            if self.owner is not None:
                os.chown(folder, *self.owner)

    def give(self, descriptor: int) -> None:
        """Make the file of *descriptor* readable for all, and its owner's."""
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, _FILE_MODE)
        if self.owner is not None:
            os.fchown(descriptor, *self.owner)


@contextmanager
def failing_as(label: str) -> Iterator[None]:
    """Raise what the system says about writing to the target *label* as our error."""
    try:
        yield
    except OSError as exc:
        words = f"{problem_text(exc)}{f': {exc.filename}' if exc.filename else ''}"
        raise place_failed(Side.TARGET, label, PlaceProblem.BROKEN, words=words) from exc


def write_visible(path: Path, data: bytes, access: FileAccess, *, beside: Path | None = None) -> None:
    """Replace *path* by *data*, at once, for all to read.

    Args:
        path: Its folder exists.
        data: The new content.
        access: Who owns it.
        beside: Folder of the same disk for what is unfinished; that of *path* when not given.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    descriptor, temporary = tempfile.mkstemp(dir=beside or path.parent, prefix=".ollama-push-", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            access.give(file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


class BlobFolder:
    """The folder of a target's blobs.

    Args:
        folder: Where the blobs are; it exists when a blob is put.
        label: Of the target, for errors.
        access: Who owns what is written.
        separator: What stands before the hexadecimal digits in a file's name.
    """

    def __init__(self, folder: Path, label: str, access: FileAccess, separator: str = "") -> None:
        self._folder = folder
        self._label = label
        self._access = access
        self._prefix = separator

    def path(self, digest: str) -> Path:
        """Return where a blob is, or would be."""
        return self._folder / f"{self._prefix}{hex_of(digest)}"

    def has(self, blob: Descriptor) -> bool:
        """Say whether *blob* is there with its size: what has a blob's name was proved before."""
        try:
            descriptor = open_regular(self.path(blob.digest))
        except (OSError, ValueError):
            return False
        try:
            return os.fstat(descriptor).st_size == blob.size
        finally:
            os.close(descriptor)

    def put(self, blob: Descriptor, read: ReadRange) -> None:
        """Write *blob*, from where an earlier attempt stopped.

        If that attempt has left other bytes, as they came over a damaged connection, the whole blob is read again.

        Raises:
            PushRejected: It cannot be written, or its bytes have another digest.
        """
        with self._unfinished(blob) as (file, hasher, held):
            pieces = read(held, blob.size - held) if blob.size - held else ()
            is_whole = write_hashed(file, pieces, blob, hasher, held=held, label=self._label)
            if not is_whole and held:
                _empty(file)
                is_whole = write_hashed(file, read(0, blob.size), blob, hashlib.sha256(), label=self._label)
            if not is_whole:
                _empty(file)
                raise place_failed(Side.SOURCE, self._label, PlaceProblem.OTHER_BYTES, digest=blob.digest)
            with failing_as(self._label):
                os.fsync(file.fileno())
                Path(file.name).replace(self.path(blob.digest))

    @contextmanager
    def _unfinished(self, blob: Descriptor) -> Iterator[tuple[FileIO, Any, int]]:
        """Open the unfinished file of *blob*; also return the hash and the number of the bytes that it holds."""
        with failing_as(self._label):
            file = self._open(self._folder / f".ollama-push-{hex_of(blob.digest)}.partial")
        with file:
            with failing_as(self._label):
                hasher, held = hashlib.sha256(), min(os.fstat(file.fileno()).st_size, blob.size)
                hash_range(file, held, hasher)
                file.truncate(held)
            yield file, hasher, held

    def _open(self, path: Path) -> _Named:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        file = _Named(os.open(path, flags, _FILE_MODE), str(path))
        # Another process writes the same blob, or has just finished it: then the path is of no file, or of another.
        if (
            not lock_file(file.fileno())
            or not path.exists()
            or not os.path.samestat(path.stat(), os.fstat(file.fileno()))
        ):
            file.close()
            file = _Named(*tempfile.mkstemp(dir=self._folder, prefix=".ollama-push-", suffix=".partial"))
        self._access.give(file.fileno())
        return file


class _Named(FileIO):
    """A file by its descriptor that knows its path."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "r+b")
        self.name = name


def _empty(file: FileIO) -> None:
    file.truncate(0)
    file.seek(0)


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write *data*, in as many pieces as the system takes it."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def write_hashed(
    file: FileIO, pieces: Iterable[bytes | memoryview], blob: Descriptor, hasher: Any, *, held: int = 0, label: str
) -> bool:
    """Write *pieces*, and say whether the file then holds *blob*.

    Args:
        file: Where they go, at its position.
        pieces: The bytes that follow those that are held.
        blob: What all of it should be.
        hasher: Of the bytes that are held.
        held: How many those are.
        label: Of the target, for errors.

    Raises:
        PushRejected: They cannot be written.
    """
    for piece in pieces:
        hasher.update(piece)
        with failing_as(label):
            write_all(file, piece)
        held += len(piece)
    return held == blob.size and hasher.hexdigest() == hex_of(blob.digest)


def lock_file(descriptor: int) -> bool:
    """Lock a file until it is closed; return whether no other process has locked it."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
