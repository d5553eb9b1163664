"""Reads a blob to its end and says whether it is what its digest names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import FileIO
from typing import Any, Final

from ollama_push.core.errors import PushInterrupted
from ollama_push.core.registry.manifests import hex_of
from ollama_push.local.files import BlobFile, open_regular

__all__ = ["hash_range", "rehash"]

_HASHED_AT_ONCE: Final = 1024 * 1024
"""From here on, larger reads cost no less CPU time per byte; a hash of so much lets other threads run."""


def hash_range(
    file: FileIO,
    size: int,
    hasher: Any,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    hashed: Callable[[int], None] = lambda _count: None,
) -> None:
    """Feed *size* bytes of *file*, from its position on, to *hasher*.

    Args:
        file: Open for reading.
        size: How many bytes.
        hasher: Of ``hashlib``.
        cancelled: Asked again and again.
        hashed: Called with the length of each piece.

    Raises:
        PushInterrupted: *cancelled* said yes.
        ValueError: The file ends before.
        OSError: It cannot be read.
    """
    buffer = memoryview(bytearray(min(_HASHED_AT_ONCE, max(1, size))))
    while size:
        count = file.readinto(buffer[: min(size, len(buffer))])
        if not count:
            raise ValueError("it ends too early")
        hasher.update(buffer[:count])
        size -= count
        hashed(count)
        if cancelled():
            raise PushInterrupted


def rehash(blob: BlobFile | bytes, digest: str, cancelled: Callable[[], bool]) -> bool:
    """Read *blob* and say whether its content has that *digest*; ``False`` if it cannot be read.

    Raises:
        PushInterrupted: *cancelled*, which is asked again and again, said yes.
    """
    hasher = hashlib.sha256()
    if isinstance(blob, bytes):
        hasher.update(blob)
    else:
        try:
            with FileIO(open_regular(blob.path), "rb") as file:
                file.seek(blob.start)
                hash_range(file, blob.size, hasher, cancelled=cancelled)
                # A file of its own that has grown is another blob; after one in an archive, others follow.
                if not blob.start and blob.identity[2] == blob.size and file.read(1):
                    return False
        except (OSError, ValueError):
            return False
    return hasher.hexdigest() == hex_of(digest)
