"""Reads files that others put there, and writes files that hold secrets.

Reading: regular files only, inside given places only, without waiting. Writing: atomically, for the owner only.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

__all__ = [
    "BlobFile",
    "Identity",
    "identity_of",
    "make_private_directory",
    "open_regular",
    "place_of",
    "problem_text",
    "read_regular",
    "write_private",
]

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of the last change in nanoseconds: if they differ, the content may differ."""

# Windows has neither O_NONBLOCK nor O_NOFOLLOW, other systems have no O_BINARY.
_OPEN_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


@attrs.frozen
class BlobFile:
    """The file of a blob.

    Attributes:
        path: The real path, with all links resolved.
        size: Bytes.
        identity: What the file was when the model was loaded.
    """

    path: Path
    size: int
    identity: Identity


def identity_of(state: os.stat_result) -> Identity:
    """Return the identity of a file's content."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def place_of(path: Path, places: Sequence[Path]) -> Path:
    """Return the real path of *path*, which must be inside one of the real paths *places*.

    Raises:
        OSError: There is no such file, or it cannot be reached.
        ValueError: It is outside of *places*.
    """
    try:
        real = path.resolve(strict=True)
    except RuntimeError as exc:  # a loop of links; Python 3.13 raises OSError itself
        raise OSError(str(exc)) from exc
    if not any(real.is_relative_to(place) for place in places):
        raise ValueError("it leads out of the store")
    return real


def open_regular(path: Path) -> int:
    """Return a descriptor of *path* to read from; the caller closes it.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is no regular file.
    """
    # Checked before opening, because to open a device can have effects, and after it, because the file may have been
    # replaced in between.
    _check_regular(path.lstat())
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        _check_regular(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def problem_text(exc: Exception) -> str:
    """Return the system's message for *exc*, or its own text where there is none."""
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of *path*.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file, or larger than *limit* bytes.
    """
    with open(open_regular(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    return data


def _check_regular(state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("it is no regular file")


_OWNER_ONLY: Final = 0o700


def make_private_directory(path: Path) -> None:
    """Make the directory *path*, for its owner only; an existing one is left as it is.

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)


def write_private(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace the content of *path*, or of the file it is a link to, with *data*; mode 0600.

    A concurrent reader sees the old content or the new content, never a part.

    Args:
        path: Its directory exists.
        data: The new content.
        durable: Whether to flush to disk, so that it survives a loss of power.

    Raises:
        OSError: It cannot be written; the old content is still there.
    """
    real = Path(os.path.realpath(path))
    # mkstemp creates the file with mode 0600; a rename within one directory is atomic (POSIX, rename()).
    descriptor, temporary = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name[:64]}.", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
