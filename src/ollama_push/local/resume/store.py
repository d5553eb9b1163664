"""Keeps resume points on disk, so that the next run resumes an upload even after ``kill -9``.

Each upload has a file and a lock, which the system releases when the process dies. Locks are taken and lock files
removed only under the lock of the directory, so that no process locks a file that another one removes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local.files import is_own, make_own_directory, problem_text, write_private
from ollama_push.local.resume.files import encode_resume_point, read_resume_point, remove_stale
from ollama_push.local.resume.knowledge import FileKnowledge

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["FileResumeStore", "NoResume"]

_LOGGER: Final = logging.getLogger("ollama_push.resume")
_WEEK_SECONDS: Final = 7 * 24 * 3600.0
_BATCH: Final = 32
_MAX_KEPT: Final = 1000
_LOCK_SECONDS: Final = 5.0
_WAIT_SECONDS: Final = 900.0
_RETRY_SECONDS: Final = 0.5
_PROBE_BYTES: Final = 4096
_POLL_SECONDS: Final = 0.005
_IMPATIENT_SECONDS: Final = 60.0
"""How long after a wait in vain nobody waits again: each blob of each push would wait as long."""

# A disk raises OSError, and filelock RuntimeError where the file system has no locks: then nothing is kept.
_UNUSABLE: Final = (OSError, RuntimeError)


@attrs.define
class _Claim:
    """A key that this instance claimed; without a lock, another process has it."""

    lock: BaseFileLock | None
    count: int = 1


@attrs.frozen
class _Wait:
    """A wait for another process that has an upload.

    Attributes:
        saved: When that process saved the resume point, in nanoseconds; 0 when there is none.
        since: Unix time since when this has been so.
    """

    saved: int
    since: float


@attrs.define(eq=False)
class _Claims:
    """What one process has claimed, by the names of the files.

    Attributes:
        held: The claims.
        mutex: Held by the thread that uses them.
    """

    held: dict[str, _Claim] = attrs.field(factory=dict)
    mutex: threading.Lock = attrs.field(factory=threading.Lock)


class NoResume:
    """Keeps nothing (``core.registry.resume.ResumeStore``): each upload starts at its first byte."""

    def claim(self, _key: UploadKey, /) -> ResumePoint | None:
        return None

    def save(self, _key: UploadKey, _upload: ResumePoint, /) -> None:
        return

    def forget(self, _key: UploadKey, /) -> None:
        return

    def release(self, _key: UploadKey, /) -> None:
        return


class FileResumeStore:
    """Keeps resume points (``core.registry.resume.ResumeStore``) in a directory for its owner only.

    Safe with several threads and processes. An instance is one claimant: a second ``claim`` of a key returns
    nothing, and the claim ends with the last ``release``. While another claimant has the key, ``claim`` asks to wait.
    If the directory cannot be used, or other users may write to it, who could send uploads elsewhere, nothing is kept
    and nothing is raised.

    Args:
        directory: Made if missing; default: ``uploads`` in the user's state directory.
        clock: Unix time in seconds.
        max_age_seconds: The longest time since the last ``save`` after which a resume point is used, and since it was
            learnt after which a registry's lesson is.
        max_kept: The most resume points that are kept; the oldest are removed.
        lock_seconds: The longest wait for another process, which usually takes milliseconds; without its lock,
            nothing is kept.
        wait_seconds: For how long claimants wait for another process that has an upload and saves nothing: it is
            stopped, or sends the blob whole. Then they send the blob, too, and nothing of that is kept.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        max_age_seconds: float = _WEEK_SECONDS,
        max_kept: int = _MAX_KEPT,
        lock_seconds: float = _LOCK_SECONDS,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._rebuild = partial(
            FileResumeStore,
            directory,
            clock=clock,
            max_age_seconds=max_age_seconds,
            max_kept=max_kept,
            lock_seconds=lock_seconds,
            wait_seconds=wait_seconds,
        )
        self._given = directory
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._max_kept = max_kept
        self._lock_seconds = lock_seconds
        self._wait_seconds = wait_seconds
        self._waits: dict[str, _Wait] = {}
        self._impatient_until = 0.0
        self._by_process = {os.getpid(): _Claims()}
        self._swept = False
        self._warned = False
        # One sweep for each new upload would take quadratic time.
        self._batch = max(1, min(_BATCH, max_kept // _BATCH))
        self._until_sweep = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process: with locks and claims of its own.
        return self._rebuild, ()

    @property
    def _claims(self) -> dict[str, _Claim]:
        return self._own().held

    @property
    def _mutex(self) -> threading.Lock:
        return self._own().mutex

    def _own(self) -> _Claims:
        """Return the claims of this process. A forked child leaves those of its parent alone, and has none at first."""
        own = self._by_process.get(os.getpid())
        # setdefault: two threads may get here at once.
        return self._by_process.setdefault(os.getpid(), _Claims()) if own is None else own

    @property
    def directory(self) -> Path:
        """The directory of the resume points."""
        if self._given is None:
            from platformdirs import user_state_path  # noqa: PLC0415 - only a push needs it

            self._given = user_state_path("ollama-push", appauthor=False) / "uploads"
        return self._given

    @property
    def place(self) -> str:
        """Where resume points are kept, for people."""
        return str(self.directory)

    @property
    def knowledge(self) -> FileKnowledge:
        """What pushes have learnt of registries; kept in the folder ``registries`` of the directory."""
        folder = self.directory / "registries"
        return FileKnowledge(folder, clock=self._clock, max_age_seconds=self._max_age_seconds)

    def problem(self) -> str | None:
        """Return why nothing can be kept in ``directory``, which is made if missing; ``None`` if it can be used."""
        try:
            make_own_directory(self.directory)
            with self._directory_lock(), tempfile.TemporaryFile(dir=self.directory) as file:
                # A full disk still makes empty files.
                file.write(bytes(_PROBE_BYTES))
                file.flush()
        except _UNUSABLE as exc:
            return problem_text(exc)
        return None

    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
        name = key.id
        with self._mutex:
            held = self._claims.get(name)
            if held is not None:
                held.count += 1
                return None
            claim = self._claims[name] = _Claim(None)
            try:
                claim.lock = self._lock(name)
                if claim.lock is None and self._is_worth_a_wait(name):
                    del self._claims[name]
                    return InUseElsewhere(_RETRY_SECONDS)
                self._waits.pop(name, None)
                return None if claim.lock is None else self._read(name, key)
            except _UNUSABLE:
                return None

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        name = key.id
        with self._mutex:
            try:
                if self._is_locked(name):
                    path = self._path(name)
                    if not path.exists():
                        self._make_room()
                    write_private(path, encode_resume_point(key, upload), durable=False)
            except _UNUSABLE as exc:
                self._warn(exc)

    def forget(self, key: UploadKey, /) -> None:
        name = key.id
        with self._mutex, contextlib.suppress(*_UNUSABLE):
            if self._is_locked(name):
                self._path(name).unlink(missing_ok=True)

    def release(self, key: UploadKey, /) -> None:
        name = key.id
        with self._mutex:
            held = self._claims.get(name)
            if held is None:
                return
            held.count -= 1
            if held.count:
                return
            del self._claims[name]
            if held.lock is not None:
                self._unlock(name, held.lock)

    def _is_worth_a_wait(self, name: str) -> bool:
        """Say whether to wait for the process that has the lock: not when it has saved nothing for too long."""
        now = self._clock()
        try:
            saved = self._path(name).stat().st_mtime_ns
        except FileNotFoundError:
            saved = 0
        wait = self._waits.get(name)
        # A clock that was set back would make the wait longer by as much.
        if wait is None or wait.saved != saved or now < wait.since:
            wait = self._waits[name] = _Wait(saved, now)
        return now - wait.since < self._wait_seconds

    def _warn(self, exc: Exception) -> None:
        """Log once that nothing is kept: the disk is full, usually."""
        if not self._warned:
            self._warned = True
            _LOGGER.warning("unfinished uploads cannot be kept in %s: %s", self.directory, problem_text(exc))

    def _make_room(self) -> None:
        if not self._until_sweep:
            self._until_sweep = self._batch
            with self._directory_lock():
                remove_stale(self.directory, self._oldest(), self._max_kept - self._batch, self._try_lock_other)
        self._until_sweep -= 1

    def _try_lock_other(self, name: str) -> BaseFileLock | None:
        if name in self._claims:
            return None
        try:
            return self._try_lock(name)
        except _UNUSABLE:
            return None

    def _is_locked(self, name: str) -> bool:
        held = self._claims.get(name)
        return held is not None and held.lock is not None

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def _oldest(self) -> float:
        return self._clock() - self._max_age_seconds

    def _lock(self, name: str) -> BaseFileLock | None:
        make_own_directory(self.directory)
        with self._directory_lock():
            lock = self._try_lock(name)
            if not self._swept:
                self._swept = True
                remove_stale(self.directory, self._oldest(), self._max_kept, self._try_lock_other)
            return lock

    def _read(self, name: str, key: UploadKey) -> ResumePoint | None:
        path = self._path(name)
        try:
            state = path.lstat()
            if state.st_mtime >= self._oldest() and is_own(state):
                return read_resume_point(path, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # of another version, or damaged by a loss of power
            pass
        path.unlink(missing_ok=True)
        return None

    def _unlock(self, name: str, lock: BaseFileLock) -> None:
        with contextlib.suppress(*_UNUSABLE), self._directory_lock():
            if not self._path(name).exists():
                Path(lock.lock_file).unlink(missing_ok=True)
        with contextlib.suppress(*_UNUSABLE):
            lock.release()

    def _try_lock(self, name: str) -> BaseFileLock | None:
        """Take the lock of one upload without waiting; ``None`` if it is taken."""
        lock = self._new_lock(name, 0)
        try:
            lock.acquire()
        except TimeoutError:
            return None
        return lock

    @contextlib.contextmanager
    def _directory_lock(self) -> Iterator[None]:
        impatient = time.monotonic() < self._impatient_until
        lock = self._new_lock("directory", 0 if impatient else self._lock_seconds)
        try:
            lock.acquire(poll_interval=_POLL_SECONDS)
        except TimeoutError:
            if not impatient:
                self._impatient_until = time.monotonic() + _IMPATIENT_SECONDS
            raise
        try:
            yield
        finally:
            lock.release()

    def _new_lock(self, name: str, timeout: float) -> BaseFileLock:
        from filelock import FileLock  # noqa: PLC0415 - only a push needs it

        # Not per thread: another thread than the one that claimed an upload may release it.
        return FileLock(self.directory / f"{name}.lock", timeout, mode=0o600, thread_local=False)
