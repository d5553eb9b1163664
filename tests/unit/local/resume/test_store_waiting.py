"""Another process that holds the directory's lock for ever: it is waited for once, not for each blob."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from filelock import FileLock

from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.local import FileResumeStore

_WAIT_SECONDS: Final = 1.0
_KEYS: Final = [UploadKey("https://h", "team/my-llama", f"sha256:{number:064x}") for number in range(20)]
_POINT: Final = ResumePoint("https://h/1", 1)


def test_a_lock_that_is_never_released_is_waited_for_once(tmp_path: Path) -> None:
    store = FileResumeStore(tmp_path, lock_seconds=_WAIT_SECONDS)
    with FileLock(tmp_path / "directory.lock"):
        start = time.monotonic()
        for key in _KEYS:
            assert store.claim(key) is None
            store.save(key, _POINT)
            store.release(key)
        took = time.monotonic() - start
    # Twenty blobs that each waited would take twenty times as long, and again for the release.
    assert _WAIT_SECONDS <= took < len(_KEYS) * _WAIT_SECONDS / 2
    assert [path.name for path in tmp_path.iterdir()] == ["directory.lock"]


def test_a_lock_that_is_free_again_is_taken_without_waiting_for_better_times(tmp_path: Path) -> None:
    store = FileResumeStore(tmp_path, lock_seconds=0.01)
    with FileLock(tmp_path / "directory.lock"):
        assert store.claim(_KEYS[0]) is None
    store.release(_KEYS[0])
    assert store.claim(_KEYS[0]) is None
    store.save(_KEYS[0], _POINT)
    store.release(_KEYS[0])
    assert store.claim(_KEYS[0]) == _POINT
