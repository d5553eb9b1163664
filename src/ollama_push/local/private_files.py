"""Writes files that hold secrets: atomically, and readable by their owner only."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["make_private_directory", "write_private"]

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
