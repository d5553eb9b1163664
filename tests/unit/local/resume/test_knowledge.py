"""What pushes learn of registries, on disk: for the next ones, for its owner alone, and not for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from stat import S_IMODE
from typing import Final

import pytest
from tests.support.clocks import Clock
from tests.support.command import without_coverage

from ollama_push.core.registry.knowledge import Lessons
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.local import FileResumeStore
from ollama_push.local.resume.knowledge import FileKnowledge

ORIGIN: Final = "https://registry.example.com"
OTHER: Final = "http://registry.example.com"
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
LESSONS: Final = Lessons(5_000_000, whole_only=True, last_part_apart=True, has_status=False)
DAY: Final = 24 * 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def knowledge(tmp_path: Path, clock: Clock) -> FileKnowledge:
    return _again(tmp_path, clock)


def _again(tmp_path: Path, clock: Clock) -> FileKnowledge:
    """Return what another process would use."""
    return FileResumeStore(tmp_path / "uploads", clock=clock).knowledge


def _files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "uploads" / "registries").glob("*.json"))


def test_what_one_push_learns_the_next_one_knows(knowledge: FileKnowledge, tmp_path: Path, clock: Clock) -> None:
    assert knowledge.lessons(ORIGIN) == Lessons()
    knowledge.keep_lessons(ORIGIN, LESSONS)
    knowledge.keep_stored(ORIGIN, "team/a", [A, B])
    again = _again(tmp_path, clock)
    assert (again.lessons(ORIGIN), again.lessons(OTHER)) == (LESSONS, Lessons())
    assert again.repositories(ORIGIN, [A, C]) == {A: ("team/a",)}
    assert again.repositories(OTHER, [A]) == {}


def test_lessons_are_kept_in_place_of_earlier_ones(knowledge: FileKnowledge) -> None:
    knowledge.keep_lessons(ORIGIN, LESSONS)
    knowledge.keep_lessons(ORIGIN, Lessons(has_status=True))
    assert knowledge.lessons(ORIGIN) == Lessons(has_status=True)


def test_lessons_grow_old_with_the_first_of_them(knowledge: FileKnowledge, clock: Clock) -> None:
    knowledge.keep_lessons(ORIGIN, Lessons(whole_only=True))
    clock.now += 6 * DAY
    knowledge.keep_lessons(ORIGIN, LESSONS)
    assert knowledge.lessons(ORIGIN) == LESSONS
    clock.now += DAY
    assert knowledge.lessons(ORIGIN) == Lessons(), "the registry is tried again"
    knowledge.keep_lessons(ORIGIN, LESSONS)
    clock.now += 6 * DAY
    assert knowledge.lessons(ORIGIN) == LESSONS


def test_the_repository_that_was_given_a_blob_last_comes_first(knowledge: FileKnowledge, clock: Clock) -> None:
    for repository in ("team/a", "team/b", "team/a"):
        knowledge.keep_stored(ORIGIN, repository, [A])
        clock.now += 1
    assert knowledge.repositories(ORIGIN, [A]) == {A: ("team/a", "team/b")}


def test_what_is_stored_is_believed_for_three_months(knowledge: FileKnowledge, clock: Clock) -> None:
    knowledge.keep_stored(ORIGIN, "team/a", [A])
    clock.now += 60 * DAY
    knowledge.keep_stored(ORIGIN, "team/b", [A])
    clock.now += 40 * DAY
    assert knowledge.repositories(ORIGIN, [A]) == {A: ("team/b",)}
    clock.now += 60 * DAY
    assert knowledge.repositories(ORIGIN, [A]) == {}


def test_what_a_registry_has_lost_is_forgotten(knowledge: FileKnowledge) -> None:
    knowledge.keep_stored(ORIGIN, "team/a", [A, B])
    knowledge.keep_stored(ORIGIN, "team/b", [A])
    for digest in (A, B, C):
        knowledge.forget_stored(ORIGIN, "team/a", digest)
    assert knowledge.repositories(ORIGIN, [A, B, C]) == {A: ("team/b",)}


def test_only_so_many_blobs_and_repositories_are_kept(knowledge: FileKnowledge, tmp_path: Path, clock: Clock) -> None:
    digests = [f"sha256:{number:064x}" for number in range(2100)]
    knowledge.keep_stored(ORIGIN, "team/old", digests[:100])
    clock.now += 1
    knowledge.keep_stored(ORIGIN, "team/new", digests[100:])
    assert set(knowledge.repositories(ORIGIN, digests)) == set(digests[100:])
    for number in range(6):
        clock.now += 1
        knowledge.keep_stored(ORIGIN, f"team/{number}", [A])
    assert knowledge.repositories(ORIGIN, [A]) == {A: ("team/5", "team/4", "team/3", "team/2")}
    assert _files(tmp_path)[0].stat().st_size < 1_000_000


def test_only_so_many_registries_are_kept(knowledge: FileKnowledge, tmp_path: Path) -> None:
    for number in range(101):
        knowledge.keep_lessons(f"https://{number}.example.com", LESSONS)
        for file in _files(tmp_path):  # all older than the next one, and in order
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 10))
    assert len(_files(tmp_path)) == 100
    known = [knowledge.lessons(f"https://{number}.example.com") == LESSONS for number in range(101)]
    assert known == [False, *[True] * 100]


def test_all_of_it_is_for_its_owner_alone(knowledge: FileKnowledge, tmp_path: Path) -> None:
    knowledge.keep_stored(ORIGIN, "team/secret-project", [A])
    folder = tmp_path / "uploads" / "registries"
    assert {S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)} == {0o700}
    assert {S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b'{"version":1,"origin":"https://registry.example.com","lessons":[],"stored":7,"learnt_at":"now"}',
        b'{"version":2,"origin":"https://registry.example.com"}',
        b'{"version":1,"origin":"https://elsewhere.example.com","learnt_at":1800000000,"lessons":{"whole_only":true}}',
        b"{" * 100_000,
        b"\xff\xfe",
        b" " * (4 * 1024 * 1024 + 1),
    ],
    ids=["empty", "list", "kinds", "version", "other registry", "deep", "no text", "large"],
)
def test_a_damaged_file_is_as_good_as_none_and_is_replaced(
    damage: bytes, knowledge: FileKnowledge, tmp_path: Path
) -> None:
    knowledge.keep_stored(ORIGIN, "team/a", [A])
    knowledge.keep_lessons(ORIGIN, LESSONS)
    (file,) = _files(tmp_path)
    file.write_bytes(damage)
    assert (knowledge.lessons(ORIGIN), knowledge.repositories(ORIGIN, [A])) == (Lessons(), {})
    knowledge.keep_lessons(ORIGIN, LESSONS)
    assert knowledge.lessons(ORIGIN) == LESSONS


def test_what_is_damaged_in_a_file_is_left_out(knowledge: FileKnowledge, tmp_path: Path, clock: Clock) -> None:
    knowledge.keep_lessons(ORIGIN, LESSONS)
    (file,) = _files(tmp_path)
    value = json.loads(file.read_bytes())
    value["lessons"] = {"largest_part_bytes": -5, "whole_only": "yes", "last_part_apart": True, "has_status": 1}
    value["stored"] = {
        A: {"team/a": clock.now, "../../etc": clock.now, "team/b?x=": clock.now, "team/c": "today", "team/d": True},
        "sha256:short": {"team/a": clock.now},
        B: ["team/a"],
    }
    file.write_text(json.dumps(value))
    assert knowledge.lessons(ORIGIN) == Lessons(last_part_apart=True)
    assert knowledge.repositories(ORIGIN, [A, B, "sha256:short"]) == {A: ("team/a",)}


def test_a_directory_that_cannot_be_used_keeps_nothing_and_raises_nothing(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "uploads").write_text("a file")
    knowledge = _again(tmp_path, clock)
    knowledge.keep_lessons(ORIGIN, LESSONS)
    knowledge.keep_stored(ORIGIN, "team/a", [A])
    knowledge.forget_stored(ORIGIN, "team/a", A)
    assert (knowledge.lessons(ORIGIN), knowledge.repositories(ORIGIN, [A])) == (Lessons(), {})


@pytest.mark.skipif(os.name != "posix", reason="on Windows, modes tell nothing about others")
def test_a_directory_that_others_may_write_to_is_not_used(
    knowledge: FileKnowledge, tmp_path: Path, clock: Clock
) -> None:
    folder = tmp_path / "uploads" / "registries"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    knowledge.keep_lessons(ORIGIN, LESSONS)
    assert list(folder.iterdir()) == []
    assert _again(tmp_path, clock).lessons(ORIGIN) == Lessons()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_used(knowledge: FileKnowledge, tmp_path: Path) -> None:
    knowledge.keep_lessons(ORIGIN, LESSONS)
    (file,) = _files(tmp_path)
    os.chown(file, 12345, 12345)
    assert knowledge.lessons(ORIGIN) == Lessons()


def test_the_resume_points_beside_it_stay_what_they_are(tmp_path: Path) -> None:
    store = FileResumeStore(tmp_path / "uploads")
    key, point = UploadKey(ORIGIN, "team/a", A), ResumePoint(f"{ORIGIN}/u", 5)
    store.knowledge.keep_lessons(ORIGIN, LESSONS)
    store.claim(key)
    store.save(key, point)
    store.release(key)
    assert store.claim(key) == point
    assert store.knowledge.lessons(ORIGIN) == LESSONS


_KEEP: Final = """
import sys, pathlib
from ollama_push.local import FileResumeStore
knowledge = FileResumeStore(pathlib.Path(sys.argv[1])).knowledge
for number in range(20):
    knowledge.keep_stored("https://registry.example.com", f"team/{sys.argv[2]}", [f"sha256:{sys.argv[2]}{number:063x}"])
"""


def test_what_processes_keep_at_the_same_time_is_all_kept(tmp_path: Path) -> None:
    directory = tmp_path / "uploads"
    processes = [
        subprocess.Popen([sys.executable, "-c", _KEEP, str(directory), letter], env=without_coverage(dict(os.environ)))
        for letter in "abcd"
    ]
    assert [process.wait(60) for process in processes] == [0] * 4
    known = FileResumeStore(directory).knowledge
    for letter in "abcd":
        digests = [f"sha256:{letter}{number:063x}" for number in range(20)]
        assert known.repositories(ORIGIN, digests) == dict.fromkeys(digests, (f"team/{letter}",))
