"""The files of resume points: their format, and which of them are stale.

The location in a file may be a signed URL, so the files are readable by their owner only.
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

from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.registry.resume import ResumePoint, UploadKey, decode_parts, encode_parts
from ollama_push.local.files import read_regular

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["encode_resume_point", "read_resume_point", "remove_stale"]

_VERSION: Final = 1
_MAX_BYTES: Final = 4 * 1024 * 1024
"""A blob of a terabyte has a thousand parts, each with a URL."""
_MAX_SEEN: Final = 10_000
"""The most files that one sweep looks at; the next sweep gets the rest."""
_OWN_FILE: Final = re.compile(r"([0-9a-f]{64})\.(json|lock)")
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{64}\..*\.tmp")


def encode_resume_point(key: UploadKey, upload: ResumePoint) -> bytes:
    """Return the content of the file of *key*."""
    point = {"location": upload.location, "offset": upload.offset}
    if upload.parts:
        point["parts"] = encode_parts(upload.parts)
    return encode_json({"version": _VERSION, **key._asdict(), **point})


def read_resume_point(path: Path, key: UploadKey) -> ResumePoint:
    """Return the resume point in the file *path* of the upload *key*.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is for another upload, or has another version.
    """
    value = decode_json(read_regular(path, _MAX_BYTES))
    expected = {"version": _VERSION, **key._asdict()}
    if not isinstance(value, dict) or {name: value.get(name) for name in expected} != expected:
        raise ValueError("it is about another upload")
    location, offset, parts = value.get("location"), value.get("offset"), value.get("parts", "")
    if not isinstance(location, str) or type(offset) is not int or offset < 0 or not isinstance(parts, str):
        raise ValueError("it is no resume point")
    return ResumePoint(location, offset, decode_parts(parts))


def remove_stale(directory: Path, oldest: float, max_kept: int, try_lock: Callable[[str], BaseFileLock | None]) -> None:
    """Remove files that are too old or too many, and those of dead processes; needs the lock of the directory.

    Args:
        directory: The directory of the store; files of others stay.
        oldest: Unix time in seconds; files that were changed before it are too old.
        max_kept: The most resume points that stay.
        try_lock: Takes the lock of the named upload, or returns ``None`` if it is in use: then its files stay.
    """
    uploads: dict[str, float] = {}
    locks: set[str] = set()
    with os.scandir(directory) as entries:
        for entry in islice(entries, _MAX_SEEN):
            with contextlib.suppress(OSError):  # removed in the meantime
                changed = entry.stat(follow_symlinks=False).st_mtime
                found = _OWN_FILE.fullmatch(entry.name)
                if found is None:
                    if changed < oldest and _TEMPORARY.fullmatch(entry.name):
                        Path(entry.path).unlink(missing_ok=True)
                elif found[2] == "json":
                    uploads[found[1]] = changed
                else:
                    locks.add(found[1])
    too_many = heapq.nsmallest(len(uploads) - max_kept, uploads, key=uploads.__getitem__)
    unwanted = {*too_many, *(name for name, changed in uploads.items() if changed < oldest)}
    # If the sweep did not see all files, a lock without its upload may only be one whose upload was not seen.
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
