"""Digests of large files, remembered by what tells that a file has not changed: device, inode, size and time."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, Final

from ollama_push.local.files import (
    BlobFile,
    Identity,
    identity_of,
    make_own_directory,
    open_regular,
    read_regular,
    write_private,
)
from ollama_push.local.hashing import hash_range

__all__ = ["HashMemory", "Hashed"]

Hashed = Callable[[Path, int, int], None]
"""Told how far a file is: its path, the bytes that were hashed, and its size."""

_MOST_KEPT: Final = 1000
_MOST_BYTES: Final = 1024 * 1024
_SETTLED_SECONDS: Final = 2.0
"""A file that was written a moment ago may be written again without another time."""


class HashMemory:
    """Hashes files, and remembers their digests between runs.

    Args:
        folder: Where they are kept; in the user's cache directory when not given.
        now: Unix time in seconds.
    """

    def __init__(self, folder: Path | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._folder = _usual_folder() if folder is None else folder
        self._now = now

    def hash(
        self,
        path: Path,
        *,
        hashed: Hashed = lambda _path, _done, _size: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[str, BlobFile]:
        """Return the digest of *path*, and the file as it was when it was hashed.

        Raises:
            PushInterrupted: *cancelled* said yes.
            ValueError: It is no regular file, or changes while it is hashed.
            OSError: It cannot be read.
        """
        real = path.resolve(strict=True)
        with FileIO(open_regular(real), "rb") as file:
            identity = identity_of(os.fstat(file.fileno()))
            blob = BlobFile(real, identity[2], identity)
            known = self._load()
            digest = known.get(_key(identity))
            if digest is not None:
                return digest, blob
            digest = f"sha256:{_hash(file, path, blob.size, hashed, cancelled)}"
            if identity_of(os.fstat(file.fileno())) != identity or file.read(1):
                raise ValueError("it changes while it is hashed")
        if self._now() - identity[3] / 1e9 > _SETTLED_SECONDS:
            self._keep({**self._load(), _key(identity): digest})
        return digest, blob

    @property
    def _file(self) -> Path:
        return self._folder / "hashes.json"

    def _load(self) -> dict[str, str]:
        try:
            value = json.loads(read_regular(self._file, _MOST_BYTES))
        except (OSError, ValueError):
            return {}
        return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}

    def _keep(self, digests: dict[str, str]) -> None:
        newest = dict(list(digests.items())[-_MOST_KEPT:])
        try:
            make_own_directory(self._folder)
            write_private(self._file, json.dumps(newest).encode(), durable=False)
        except OSError:
            return  # it is hashed again next time


def _hash(file: FileIO, path: Path, size: int, hashed: Hashed, cancelled: Callable[[], bool]) -> str:
    hasher: Any = hashlib.sha256()
    done = 0

    def moved(count: int) -> None:
        nonlocal done
        done += count
        hashed(path, done, size)

    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, size, os.POSIX_FADV_SEQUENTIAL)
    hash_range(file, size, hasher, cancelled=cancelled, hashed=moved)
    digest: str = hasher.hexdigest()
    return digest


def _key(identity: Identity) -> str:
    return ":".join(map(str, identity))


def _usual_folder() -> Path:
    from platformdirs import user_cache_path  # noqa: PLC0415 - loaded when something is hashed

    return user_cache_path("ollama-push")
