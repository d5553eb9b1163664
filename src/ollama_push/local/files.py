"""Reads files that others put there, and writes files that hold secrets.

Reading: regular files only, inside given places only, without waiting. Writing: atomically, for those only who may
read the file.
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
    "is_own",
    "make_own_directory",
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
_GROUP: Final = 0o070
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def make_private_directory(path: Path) -> None:
    """Make the directory *path*, for its owner only; an existing one is left as it is.

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)


def is_own(state: os.stat_result) -> bool:
    """Say whether what *state* is of belongs to this user or to root, as far as the system tells."""
    return not hasattr(os, "geteuid") or state.st_uid in (os.geteuid(), 0)


def make_own_directory(path: Path) -> None:
    """Make the directory *path*, for its owner only; an existing one must be writable by this user and root alone.

    Raises:
        OSError: It cannot be made, or somebody else may write to it.
    """
    make_private_directory(path)
    state = path.stat()
    # On Windows, modes tell nothing about others.
    if not is_own(state) or (os.name == "posix" and state.st_mode & _WRITABLE_BY_OTHERS):
        raise PermissionError("other users may write to it")


def write_private(path: Path, data: bytes, *, durable: bool, keep_access: bool = False) -> None:
    """Replace the content of *path*, or of the file it is a link to, with *data*.

    A concurrent reader sees the old content or the new content, never a part. Its owner is this user, and its
    mode 0600.

    Args:
        path: Its directory exists.
        data: The new content.
        durable: Whether to flush to disk, so that it survives a loss of power.
        keep_access: Whether a file that is there keeps its owner, group and mode.

    Raises:
        OSError: It cannot be written, or its owner cannot be kept; the old content is still there.
    """
    real = Path(os.path.realpath(path))
    # mkstemp creates the file with mode 0600; a rename within one directory is atomic (POSIX, rename()).
    descriptor, temporary = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name[:64]}.", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            if keep_access:
                _keep_access(real, descriptor)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _keep_access(real: Path, descriptor: int) -> None:
    """Give the file of *descriptor* the owner, the group and the mode of *real*, if that exists."""
    try:
        before = real.stat()
    except FileNotFoundError:
        return
    if not hasattr(os, "fchown"):  # Windows: the file has what its directory passes on
        return
    mode, now = stat.S_IMODE(before.st_mode) & 0o777, os.fstat(descriptor)
    if before.st_uid != now.st_uid:
        try:
            os.fchown(descriptor, before.st_uid, -1)
        except PermissionError:
            raise PermissionError("the file belongs to another user") from None
    if before.st_gid != now.st_gid:
        try:
            os.fchown(descriptor, -1, before.st_gid)
        except PermissionError:
            # What the mode grants, it would grant to another group.
            mode &= ~_GROUP
    os.fchmod(descriptor, mode)
