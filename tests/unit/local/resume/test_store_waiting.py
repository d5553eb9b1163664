"""Another process that holds the directory's lock for ever: it is waited for once, not for each blob."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import attrs
from filelock import FileLock
from tests.support.clocks import Clock

from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
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


def test_an_upload_of_another_process_is_waited_for_while_it_moves(tmp_path: Path) -> None:
    other, store = FileResumeStore(tmp_path), FileResumeStore(tmp_path, wait_seconds=0.0)
    patient = FileResumeStore(tmp_path, wait_seconds=_WAIT_SECONDS * 100)
    key = _KEYS[0]
    other.claim(key)
    assert isinstance(patient.claim(key), InUseElsewhere)
    assert isinstance(patient.claim(key), InUseElsewhere), "a claim that was not made needs no release"
    assert store.claim(key) is None, "one that does not move is sent without it"
    store.save(key, _POINT)
    store.release(key)
    other.save(key, attrs.evolve(_POINT, offset=2))
    other.release(key)
    assert patient.claim(key) == attrs.evolve(_POINT, offset=2)


def test_the_patience_for_another_process_begins_again_with_each_part_that_it_saves(tmp_path: Path) -> None:
    clock = Clock()
    other, store = FileResumeStore(tmp_path), FileResumeStore(tmp_path, clock=clock, wait_seconds=10.0)
    key = _KEYS[0]
    other.claim(key)
    for offset in (1, 2, 3):
        assert isinstance(store.claim(key), InUseElsewhere)
        clock.now += 9.0
        assert isinstance(store.claim(key), InUseElsewhere)
        other.save(key, attrs.evolve(_POINT, offset=offset))
        (file,) = tmp_path.glob("*.json")
        os.utime(file, ns=(offset, offset))  # clocks of files are coarse
    assert isinstance(store.claim(key), InUseElsewhere)
    clock.now += 10.0
    assert store.claim(key) is None


def test_a_lock_that_is_free_again_is_taken_without_waiting_for_better_times(tmp_path: Path) -> None:
    store = FileResumeStore(tmp_path, lock_seconds=0.01)
    with FileLock(tmp_path / "directory.lock"):
        assert store.claim(_KEYS[0]) is None
    store.release(_KEYS[0])
    assert store.claim(_KEYS[0]) is None
    store.save(_KEYS[0], _POINT)
    store.release(_KEYS[0])
    assert store.claim(_KEYS[0]) == _POINT
