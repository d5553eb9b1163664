"""Writes files that hold secrets: whole or not at all, and for their owner's eyes only."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["make_private_directory", "write_private"]

_OWNER_ONLY: Final = 0o700


def make_private_directory(path: Path) -> None:
    """Make *path* a directory that only its owner may enter; one that is there is left as it is.

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)


def write_private(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace the content of *path*, or of what it is a link to, with *data*; mode 0600.

    Whoever reads *path* meanwhile sees the old content or the new one, never a part.

    Args:
        path: Its directory exists.
        data: The new content.
        durable: Whether it must survive a loss of power at once; costs a flush to disk.

    Raises:
        OSError: It cannot be written; the old content is still there.
    """
    real = Path(os.path.realpath(path))
    # mkstemp opens with mode 0600, and in the same directory a rename replaces at one stroke.
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
