"""Reads files that others put there, and replaces files.

Reading: regular files only, inside given places only, without waiting. Writing: atomically, regular files only, for
those only who may read the file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
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
    "write_public",
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
    """The file that holds a blob.

    Attributes:
        path: The real path, with all links resolved.
        size: Bytes of the blob.
        identity: What the file was when the model was loaded.
        start: Where the blob begins in the file.
    """

    path: Path
    size: int
    identity: Identity
    start: int = 0


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
_OWNER_ONLY_FILE: Final = 0o600
_ANYBODY: Final = 0o666
_MAX_LINKS: Final = 40
"""As many as Linux follows (path_resolution(7))."""
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
        OSError: It cannot be written, its owner cannot be kept, or it is a pipe, a device or a directory; what was
            there is still there.
    """
    _replace(Path(os.path.realpath(path)), data, _OWNER_ONLY_FILE, durable=durable, keep_access=keep_access)


def write_public(path: Path, data: bytes) -> None:
    """Replace the content of *path*, which others may read, as :func:`write_private` does.

    A file that is there keeps its owner, group and mode; a new one gets what the process's umask leaves.

    Raises:
        OSError: As for :func:`write_private`; or it is a link of another user, who could choose what is overwritten.
    """
    for _ in range(_MAX_LINKS):
        if not path.is_symlink():
            break
        if not is_own(path.lstat()):
            raise PermissionError("it is a link of another user")
        path = path.parent / path.readlink()
    _replace(Path(os.path.realpath(path)), data, _ANYBODY, durable=False, keep_access=True)


def _replace(real: Path, data: bytes, mode: int, *, durable: bool, keep_access: bool) -> None:
    if not _is_replaceable(real):
        raise OSError("it is no regular file")
    # In the same directory, since only a rename there is atomic (POSIX, rename()). Nobody can guess the name and put
    # a link there, through which O_EXCL does not write either.
    temporary = real.parent / f".{real.name[:64]}.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            if keep_access:
                _keep_access(real, descriptor)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _is_replaceable(real: Path) -> bool:
    """Say whether *real* is a regular file or not there: a rename would put a file in the place of anything else."""
    try:
        return stat.S_ISREG(real.lstat().st_mode)
    except FileNotFoundError:
        return True


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
