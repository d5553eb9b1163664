"""Keeps on disk what pushes learn of registries, a file for each registry, beside the resume points.

A file that is damaged, or of another version, is as good as none, and the next push that learns something replaces it.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.registry.knowledge import Lessons
from ollama_push.core.registry.manifests import is_sha256_digest
from ollama_push.core.registry.target import is_repository_path
from ollama_push.local.files import is_own, make_own_directory, read_regular, write_private

__all__ = ["FileKnowledge"]

_VERSION: Final = 1
_MAX_BYTES: Final = 4 * 1024 * 1024
_MAX_REGISTRIES: Final = 100
_MAX_BLOBS: Final = 2000
"""Of one registry: some hundred models."""
_MAX_REPOSITORIES: Final = 4
"""Of one blob."""
_STORED_SECONDS: Final = 90 * 24 * 3600.0
_LOCK_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.005

# A disk raises OSError, filelock RuntimeError where the file system has no locks, and a damaged file ValueError.
_UNUSABLE: Final = (OSError, RuntimeError, ValueError)


@attrs.define
class _Known:
    """The content of one file.

    Attributes:
        lessons: What the registry has taught.
        learnt_at: Unix time of the first of them.
        stored: By digest, the repositories that were given the blob, each with the Unix time of the last push.
    """

    lessons: Lessons = attrs.field(factory=Lessons)
    learnt_at: float = 0.0
    stored: dict[str, dict[str, float]] = attrs.field(factory=dict)


class FileKnowledge:
    """Keeps knowledge (``core.registry.knowledge.KnowledgeStore``) in a directory for its owner only.

    Safe with several threads and processes. If the directory cannot be used, or other users may write to it, nothing
    is kept and nothing is raised.

    Args:
        directory: Made if missing, and its parent with it.
        clock: Unix time in seconds.
        max_age_seconds: How long lessons are used: then the registry is tried again. What it stores is remembered
            for 90 days.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float], max_age_seconds: float) -> None:
        self._directory = directory
        self._clock = clock
        self._max_age_seconds = max_age_seconds

    def lessons(self, origin: str, /) -> Lessons:
        return self._read(origin).lessons

    def keep_lessons(self, origin: str, lessons: Lessons, /) -> None:
        def change(known: _Known) -> None:
            # Not longer than the first of them: one that is learnt every day would keep the others for ever.
            known.learnt_at = known.learnt_at or self._clock()
            known.lessons = lessons

        self._change(origin, change)

    def repositories(self, origin: str, digests: Collection[str], /) -> Mapping[str, tuple[str, ...]]:
        stored = self._read(origin).stored
        return {digest: tuple(_latest(stored[digest])) for digest in digests if digest in stored}

    def keep_stored(self, origin: str, repository: str, digests: Collection[str], /) -> None:
        def change(known: _Known) -> None:
            for digest in digests:
                times = {**known.stored.get(digest, {}), repository: self._clock()}
                known.stored[digest] = {name: times[name] for name in _latest(times, _MAX_REPOSITORIES)}
            newest = {digest: max(times.values()) for digest, times in known.stored.items()}
            known.stored = {digest: known.stored[digest] for digest in _latest(newest, _MAX_BLOBS)}

        self._change(origin, change)

    def forget_stored(self, origin: str, repository: str, digest: str, /) -> None:
        def change(known: _Known) -> None:
            times = known.stored.pop(digest, {})
            times.pop(repository, None)
            if times:
                known.stored[digest] = times

        self._change(origin, change)

    def _read(self, origin: str) -> _Known:
        path = self._path(origin)
        try:
            if is_own(path.lstat()):
                return self._decoded(origin, read_regular(path, _MAX_BYTES))
        except _UNUSABLE:
            pass
        return _Known()

    def _change(self, origin: str, change: Callable[[_Known], None]) -> None:
        """Let *change* work on what is known of *origin*, and keep the result."""
        from filelock import FileLock  # noqa: PLC0415 - only a push needs it

        directory, path = self._directory, self._path(origin)
        with contextlib.suppress(*_UNUSABLE):
            make_own_directory(directory.parent)
            make_own_directory(directory)
            # Not per thread: an async client's threads take turns.
            lock = FileLock(directory / "directory.lock", _LOCK_SECONDS, mode=0o600, thread_local=False)
            with lock.acquire(poll_interval=_POLL_SECONDS):
                known = self._read(origin)
                change(known)
                if not path.exists():
                    self._make_room()
                write_private(path, self._encoded(origin, known), durable=False)

    def _make_room(self) -> None:
        changed = {path: path.lstat().st_mtime for path in self._directory.glob("*.json")}
        for path in heapq.nsmallest(len(changed) - _MAX_REGISTRIES + 1, changed, key=changed.__getitem__):
            path.unlink(missing_ok=True)

    def _path(self, origin: str) -> Path:
        return self._directory / f"{hashlib.sha256(origin.encode()).hexdigest()}.json"

    def _encoded(self, origin: str, known: _Known) -> bytes:
        lessons = attrs.asdict(known.lessons)
        return encode_json(
            {
                "version": _VERSION,
                "origin": origin,
                "lessons": lessons,
                "learnt_at": known.learnt_at,
                "stored": known.stored,
            }
        )

    def _decoded(self, origin: str, data: bytes) -> _Known:
        value = decode_json(data)
        if not isinstance(value, dict) or (value.get("version"), value.get("origin")) != (_VERSION, origin):
            raise ValueError("it is about another registry")
        now, learnt_at = self._clock(), _time_in(value.get("learnt_at"))
        known = _Known(stored=dict(_stored_in(value.get("stored"), now)))
        if abs(now - learnt_at) < self._max_age_seconds:
            known.lessons, known.learnt_at = _lessons_in(value.get("lessons")), learnt_at
        return known


def _lessons_in(value: Any) -> Lessons:
    """Return the lessons in *value*; those of the wrong kind are left out."""
    found = value if isinstance(value, dict) else {}
    largest, has_status = found.get("largest_part_bytes"), found.get("has_status")
    return Lessons(
        largest_part_bytes=largest if type(largest) is int and largest > 0 else None,
        whole_only=found.get("whole_only") is True,
        last_part_apart=found.get("last_part_apart") is True,
        has_status=has_status if isinstance(has_status, bool) else None,
        oci_only=found.get("oci_only") is True,
    )


def _stored_in(value: Any, now: float) -> Iterator[tuple[str, dict[str, float]]]:
    for digest, repositories in value.items() if isinstance(value, dict) else ():
        if is_sha256_digest(digest) and isinstance(repositories, dict):
            times = {name: _time_in(time) for name, time in repositories.items() if is_repository_path(name)}
            found = {name: time for name, time in times.items() if abs(now - time) < _STORED_SECONDS}
            if found:
                yield digest, found


def _time_in(value: Any) -> float:
    return float(value) if type(value) in (int, float) else 0.0


def _latest(times: Mapping[str, float], count: int | None = None) -> list[str]:
    """Return the *count* latest of *times*, the last one first; all by default."""
    return sorted(times, key=times.__getitem__, reverse=True)[:count]
