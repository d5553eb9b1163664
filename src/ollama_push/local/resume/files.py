"""The files that unfinished uploads are kept in: their content, and which of them are no longer wanted.

A file's location may hold the registry's signature, so all of them are for their owner alone.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.local.files import read_regular

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["read_upload", "remove_stale", "upload_bytes"]

_VERSION: Final = 1
_MAX_BYTES: Final = 64 * 1024
_MAX_SEEN: Final = 10_000
"""Files looked at in one sweep; what is left is for the next one."""
_OURS: Final = re.compile(r"([0-9a-f]{64})\.(json|lock)")
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{64}\..*\.tmp")


def upload_bytes(key: UploadKey, upload: ResumePoint) -> bytes:
    """Return the content of a file."""
    return encode_json({"version": _VERSION, **attrs.asdict(key), "location": upload.location, "offset": upload.offset})


def read_upload(path: Path, key: UploadKey) -> ResumePoint:
    """Return what *path* says of the upload *key*.

    Raises:
        OSError: It cannot be read.
        ValueError: It is another's, or another version's.
    """
    value = decode_json(read_regular(path, _MAX_BYTES))
    expected = {"version": _VERSION, **attrs.asdict(key)}
    if not isinstance(value, dict) or {name: value.get(name) for name in expected} != expected:
        raise ValueError("it is about another upload")
    location, offset = value.get("location"), value.get("offset")
    if not isinstance(location, str) or type(offset) is not int or offset < 0:
        raise ValueError("it is no upload")
    return ResumePoint(location, offset)


def remove_stale(directory: Path, oldest: float, max_kept: int, try_lock: Callable[[str], BaseFileLock | None]) -> None:
    """Remove uploads that are too old or too many, and what dead processes left; who holds the directory's lock may.

    Args:
        directory: Where they are; other files in it stay.
        oldest: Unix time in seconds of the last change that still counts.
        max_kept: How many uploads may stay.
        try_lock: Takes the lock of one, by name; those in use give none and stay.
    """
    uploads: dict[str, float] = {}
    locks: set[str] = set()
    with os.scandir(directory) as entries:
        for entry in islice(entries, _MAX_SEEN):
            with contextlib.suppress(OSError):  # it may be gone by now
                changed = entry.stat(follow_symlinks=False).st_mtime
                found = _OURS.fullmatch(entry.name)
                if found is None:
                    if changed < oldest and _TEMPORARY.fullmatch(entry.name):
                        Path(entry.path).unlink(missing_ok=True)
                elif found[2] == "json":
                    uploads[found[1]] = changed
                else:
                    locks.add(found[1])
    too_many = heapq.nsmallest(len(uploads) - max_kept, uploads, key=uploads.__getitem__)
    unwanted = {*too_many, *(name for name, changed in uploads.items() if changed < oldest)}
    # Where not everything was seen, a lock alone may have its upload among the rest.
    orphans = locks - uploads.keys() if len(locks) + len(uploads) < _MAX_SEEN // 2 else set()
    for name in unwanted | orphans:
        _remove(directory, name, try_lock)


def _remove(directory: Path, name: str, try_lock: Callable[[str], BaseFileLock | None]) -> None:
    lock = try_lock(name)
    if lock is None:
        return
    try:
        with contextlib.suppress(OSError):
            (directory / f"{name}.json").unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)
    finally:
        lock.release()
