"""Opens files that others put there: regular files only, inside given places only, never waiting.

A store may be on a disk that others write to: a name in it can be a link out of it, a pipe without a writer,
a device that acts when it is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

__all__ = ["BlobFile", "Identity", "identity_of", "open_regular", "place_of", "read_regular"]

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of the last change in nanoseconds: other numbers mean another content."""

# Not every system has them all: Windows has neither O_NONBLOCK nor O_NOFOLLOW.
_QUIETLY: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


@attrs.frozen
class BlobFile:
    """Where a blob's bytes are.

    Attributes:
        path: The real path: no link is left in it.
        size: Bytes.
        identity: What the file was when it was looked at.
    """

    path: Path
    size: int
    identity: Identity


def identity_of(state: os.stat_result) -> Identity:
    """Return what tells this content of a file from another."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def place_of(path: Path, places: Sequence[Path]) -> Path:
    """Return the real path of *path*, which must be inside one of the real paths *places*.

    Raises:
        OSError: There is nothing, or no way to it.
        ValueError: It is elsewhere.
    """
    try:
        real = path.resolve(strict=True)
    except RuntimeError as exc:  # a loop of links, up to Python 3.12
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
    # Looked at before it is opened, because opening a device can act; and after, because it may be another by then.
    _check_regular(path.lstat())
    descriptor = os.open(path, _QUIETLY)
    try:
        _check_regular(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


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
