"""Several pushes of one blob at once: one of them has the upload, whoever dies gives it back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest

from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local import FileResumeStore

pytestmark = pytest.mark.process

_KEY = UploadKey("https://h", "team/my-llama", "sha256:" + "a" * 64)
_FIRST, _SECOND = ResumePoint("https://h/1", 1), ResumePoint("https://h/2", 2)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@contextmanager
def _holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that has claimed and saved the upload, and waits."""
    program = f"""
import sys
from pathlib import Path
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.local import FileResumeStore
key = UploadKey({_KEY.origin!r}, {_KEY.repository!r}, {_KEY.digest!r})
sessions = FileResumeStore(Path({str(directory)!r}))
print(sessions.claim(key), flush=True)
sessions.save(key, ResumePoint({_FIRST.location!r}, {_FIRST.offset}))
print("saved", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "None\n"
            assert process.stdout.readline() == "saved\n"
            yield process
        finally:
            process.kill()


def test_another_process_s_upload_is_neither_used_nor_overwritten(directory: Path) -> None:
    sessions = FileResumeStore(directory)
    with _holder(directory):
        assert isinstance(sessions.claim(_KEY), InUseElsewhere)
        sessions.save(_KEY, _SECOND)
        sessions.forget(_KEY)
        sessions.release(_KEY)
    assert FileResumeStore(directory).claim(_KEY) == _FIRST


def test_kill_9_gives_the_upload_back(directory: Path) -> None:
    with _holder(directory) as process:
        process.kill()
        process.wait(10)
        assert FileResumeStore(directory).claim(_KEY) == _FIRST


def test_another_instance_in_this_process_does_not_get_it_either(directory: Path) -> None:
    first, second = FileResumeStore(directory), FileResumeStore(directory)
    first.claim(_KEY)
    first.save(_KEY, _FIRST)
    assert isinstance(second.claim(_KEY), InUseElsewhere)
    second.save(_KEY, _SECOND)
    second.forget(_KEY)
    second.release(_KEY)
    first.release(_KEY)
    assert second.claim(_KEY) == _FIRST


def test_a_second_claim_through_one_instance_gets_nothing_and_gives_nothing_back(directory: Path) -> None:
    sessions, other = FileResumeStore(directory), FileResumeStore(directory)
    sessions.claim(_KEY)
    sessions.save(_KEY, _FIRST)
    assert sessions.claim(_KEY) is None
    sessions.release(_KEY)
    assert isinstance(other.claim(_KEY), InUseElsewhere), "the first claim still holds"
    other.release(_KEY)
    sessions.release(_KEY)
    assert other.claim(_KEY) == _FIRST


def test_of_many_threads_one_gets_what_is_kept(directory: Path) -> None:
    first = FileResumeStore(directory)
    first.claim(_KEY)
    first.save(_KEY, _FIRST)
    first.release(_KEY)
    gather = Barrier(8)

    def claim(sessions: FileResumeStore) -> ResumePoint | InUseElsewhere | None:
        gather.wait(30)
        return sessions.claim(_KEY)

    with ThreadPoolExecutor(8) as pool:
        one = FileResumeStore(directory)
        claimants = [one] * 4 + [FileResumeStore(directory) for _ in range(4)]
        found = list(pool.map(claim, claimants))
    assert [each for each in found if each is not None and not isinstance(each, InUseElsewhere)] == [_FIRST]


def test_claims_that_come_and_go_in_many_processes_never_overlap(directory: Path, tmp_path: Path) -> None:
    # Each holder makes a file that must not be there: two at once would see each other's.
    program = f"""
import sys
from pathlib import Path
from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local import FileResumeStore
key, mark, held = UploadKey("https://h", "r", "d"), Path({str(tmp_path / "mark")!r}), 0
sys.stdin.read(1)
while held < 50:
    sessions = FileResumeStore(Path({str(directory)!r}))
    claimed = not isinstance(sessions.claim(key), InUseElsewhere)
    sessions.save(key, ResumePoint("https://h/1", 1))
    if claimed:
        mark.touch(exist_ok=False)
        held += 1
        mark.unlink()
        sessions.forget(key)
    sessions.release(key)
"""
    processes = [subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("!")
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
