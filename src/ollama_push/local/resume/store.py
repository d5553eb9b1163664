"""Keeps unfinished uploads on disk, so that the next run goes on where one was stopped, even by ``kill -9``.

One file an upload, and a lock of its own that the system takes back when its process dies. Locks are taken and
lock files removed under the directory's lock only: nobody can lock a file that is just being removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.local.private_files import make_private_directory, write_private
from ollama_push.local.resume.files import read_upload, remove_stale, upload_bytes

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["FileResumeStore", "NoResume"]

_WEEK_SECONDS: Final = 7 * 24 * 3600.0
_BATCH: Final = 32
_MAX_KEPT: Final = 1000
_LOCK_SECONDS: Final = 5.0
"""Longest wait for another process to finish with the directory; it needs milliseconds."""
_POLL_SECONDS: Final = 0.005

# What a disk, and filelock on an odd file system, can raise: then nothing is kept.
_UNUSABLE: Final = (OSError, RuntimeError)


@attrs.define
class _Claim:
    """What this instance knows of a key; without a lock, somebody else has it."""

    lock: BaseFileLock | None
    count: int = 1


class NoResume:
    """Keeps nothing (``core.registry.resume.ResumeStore``): every upload starts at the beginning."""

    def claim(self, _key: UploadKey, /) -> ResumePoint | None:
        return None

    def save(self, _key: UploadKey, _upload: ResumePoint, /) -> None:
        return

    def forget(self, _key: UploadKey, /) -> None:
        return

    def release(self, _key: UploadKey, /) -> None:
        return


class FileResumeStore:
    """Keeps unfinished uploads (``core.registry.resume.ResumeStore``) in a directory for its owner alone.

    Safe with several threads and processes. An instance is one claimant: a key that it has claimed already is
    not given out again, and the claim ends with the last ``release``. A directory that cannot be used keeps
    nothing and raises nothing.

    Args:
        directory: Made when missing; ``uploads`` in the user's state directory when not given.
        clock: Unix time in seconds.
        max_age_seconds: What was not saved for so long is dropped.
        max_kept: At most so many are kept; the oldest are dropped.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        max_age_seconds: float = _WEEK_SECONDS,
        max_kept: int = _MAX_KEPT,
    ) -> None:
        self._given = directory
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._max_kept = max_kept
        self._claims: dict[str, _Claim] = {}
        self._guard = threading.Lock()
        self._swept = False
        # Looking through the directory at every new upload would take quadratic time.
        self._batch = max(1, min(_BATCH, max_kept // _BATCH))
        self._until_sweep = 0

    @property
    def directory(self) -> Path:
        """Where the uploads are kept."""
        if self._given is None:
            from platformdirs import user_state_path  # noqa: PLC0415 - only a push needs it

            self._given = user_state_path("ollama-push", appauthor=False) / "uploads"
        return self._given

    def problem(self) -> str | None:
        """Say why nothing can be kept in ``directory``; ``None`` when it can. Makes the directory when missing."""
        try:
            make_private_directory(self.directory)
            with self._alone(), tempfile.TemporaryFile(dir=self.directory):
                return None
        except _UNUSABLE as exc:
            return getattr(exc, "strerror", None) or str(exc)

    def claim(self, key: UploadKey, /) -> ResumePoint | None:
        name = _name_of(key)
        with self._guard:
            held = self._claims.get(name)
            if held is not None:
                held.count += 1
                return None
            claim = self._claims[name] = _Claim(None)
            try:
                claim.lock = self._lock(name)
                return None if claim.lock is None else self._known(name, key)
            except _UNUSABLE:
                return None

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        name = _name_of(key)
        with self._guard, contextlib.suppress(*_UNUSABLE):
            if self._is_ours(name):
                path = self._path(name)
                if not path.exists():
                    self._make_room()
                write_private(path, upload_bytes(key, upload), durable=False)

    def forget(self, key: UploadKey, /) -> None:
        name = _name_of(key)
        with self._guard, contextlib.suppress(*_UNUSABLE):
            if self._is_ours(name):
                self._path(name).unlink(missing_ok=True)

    def release(self, key: UploadKey, /) -> None:
        name = _name_of(key)
        with self._guard:
            held = self._claims.get(name)
            if held is None:
                return
            held.count -= 1
            if held.count:
                return
            del self._claims[name]
            if held.lock is not None:
                self._unlock(name, held.lock)

    def _make_room(self) -> None:
        if not self._until_sweep:
            self._until_sweep = self._batch
            with self._alone():
                remove_stale(self.directory, self._oldest(), self._max_kept - self._batch, self._try_to_lock_others)
        self._until_sweep -= 1

    def _try_to_lock_others(self, name: str) -> BaseFileLock | None:
        return None if name in self._claims else self._try_lock(name)

    def _is_ours(self, name: str) -> bool:
        held = self._claims.get(name)
        return held is not None and held.lock is not None

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def _oldest(self) -> float:
        return self._clock() - self._max_age_seconds

    def _lock(self, name: str) -> BaseFileLock | None:
        make_private_directory(self.directory)
        with self._alone():
            lock = self._try_lock(name)
            if not self._swept:
                self._swept = True
                remove_stale(self.directory, self._oldest(), self._max_kept, self._try_to_lock_others)
            return lock

    def _known(self, name: str, key: UploadKey) -> ResumePoint | None:
        path = self._path(name)
        try:
            if path.lstat().st_mtime >= self._oldest():
                return read_upload(path, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # not ours, or torn by a loss of power
            pass
        path.unlink(missing_ok=True)
        return None

    def _unlock(self, name: str, lock: BaseFileLock) -> None:
        with contextlib.suppress(*_UNUSABLE), self._alone():
            if not self._path(name).exists():
                Path(lock.lock_file).unlink(missing_ok=True)
        with contextlib.suppress(*_UNUSABLE):
            lock.release()

    def _try_lock(self, name: str) -> BaseFileLock | None:
        """Take the lock of one upload, without waiting; ``None`` when somebody has it."""
        lock = self._new_lock(name, 0)
        try:
            lock.acquire()
        except _UNUSABLE:
            return None
        return lock

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._new_lock("directory", _LOCK_SECONDS).acquire(poll_interval=_POLL_SECONDS):
            yield

    def _new_lock(self, name: str, timeout: float) -> BaseFileLock:
        from filelock import FileLock  # noqa: PLC0415 - only a push needs it

        # Not per thread: whoever ends an upload need not be who began it.
        return FileLock(self.directory / f"{name}.lock", timeout, mode=0o600, thread_local=False)


def _name_of(key: UploadKey) -> str:
    return hashlib.sha256(f"{key.origin}\n{key.repository}\n{key.digest}".encode()).hexdigest()
