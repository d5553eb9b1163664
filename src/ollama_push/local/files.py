"""Opens files that other programs wrote: regular files only, inside given directories only, without blocking.

A model store may be on a disk that others can write to. A name in it can be a link to a file elsewhere, a pipe without
a writer, or a device that does something when it is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

__all__ = ["BlobFile", "Identity", "identity_of", "open_regular", "place_of", "problem_text", "read_regular"]

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
