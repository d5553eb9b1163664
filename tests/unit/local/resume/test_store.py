"""Unfinished uploads: kept for the next run, for their owner alone, a week at most."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from stat import S_IMODE
from threading import Thread

import attrs
import pytest
from tests.support.command import without_coverage

from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local import FileResumeStore, NoResume

_KEY = UploadKey("https://registry.example.com", "team/my-llama", "sha256:" + "a" * 64)
_OTHER = _KEY._replace(repository="team/other")
_SAVED = ResumePoint("https://registry.example.com/v2/team/my-llama/blobs/uploads/1?_state=s3cret", 1 << 40)


class _Settable:
    """A clock of this process, also behind a pickle."""

    now = 1e9

    def __call__(self) -> float:
        return _Settable.now


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "uploads"


def _names(directory: Path, ending: str = "") -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.endswith(ending))


def _keep(directory: Path, key: UploadKey = _KEY, saved: ResumePoint = _SAVED) -> Path:
    """Keep *saved* as a run that was stopped does, and return its file."""
    before = set(directory.glob("*.json"))
    sessions = FileResumeStore(directory)
    sessions.claim(key)
    sessions.save(key, saved)
    sessions.release(key)
    (file,) = set(directory.glob("*.json")) - before
    return file


def test_what_one_run_keeps_the_next_one_finds(directory: Path) -> None:
    first = FileResumeStore(directory)
    assert first.claim(_KEY) is None
    first.save(_KEY, attrs.evolve(_SAVED, offset=5))
    first.save(_KEY, _SAVED)
    first.release(_KEY)
    second = FileResumeStore(directory)
    assert second.claim(_KEY) == _SAVED
    second.release(_KEY)
    assert second.claim(_KEY) == _SAVED, "a release keeps it"


def test_a_directory_that_can_be_used_has_no_problem_and_is_left_as_it_was(directory: Path) -> None:
    assert FileResumeStore(directory).problem() is None
    assert _names(directory) == ["directory.lock"]


def test_the_problem_of_a_directory_that_cannot_be_used_is_said(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("a file")
    assert FileResumeStore(directory).problem() == "File exists"


def test_the_problem_of_a_lock_that_has_no_words_is_said(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "directory.lock").mkdir()
    assert FileResumeStore(directory).problem()


@pytest.mark.parametrize(
    "other",
    [
        _OTHER,
        _KEY._replace(origin="http://registry.example.com"),
        _KEY._replace(digest="sha256:" + "b" * 64),
    ],
)
def test_uploads_do_not_mix(directory: Path, other: UploadKey) -> None:
    _keep(directory)
    assert FileResumeStore(directory).claim(other) is None


def test_what_is_forgotten_is_gone_and_the_claim_stays(directory: Path) -> None:
    _keep(directory)
    sessions = FileResumeStore(directory)
    sessions.claim(_KEY)
    sessions.forget(_KEY)
    assert _names(directory, ".json") == []
    sessions.forget(_KEY)
    sessions.save(_KEY, _SAVED)
    sessions.release(_KEY)
    assert FileResumeStore(directory).claim(_KEY) == _SAVED


def test_nothing_is_left_of_an_upload_that_is_finished(directory: Path) -> None:
    _keep(directory)
    sessions = FileResumeStore(directory)
    sessions.claim(_KEY)
    sessions.forget(_KEY)
    sessions.release(_KEY)
    assert _names(directory) == ["directory.lock"]


def test_without_a_claim_nothing_is_kept_or_lost(directory: Path) -> None:
    file = _keep(directory)
    sessions = FileResumeStore(directory)
    sessions.save(_OTHER, _SAVED)
    sessions.forget(_KEY)
    sessions.release(_KEY)
    assert _names(directory, ".json") == [file.name]


def test_all_of_it_is_for_its_owner_alone(directory: Path) -> None:
    _keep(directory)
    sessions = FileResumeStore(directory)
    sessions.claim(_KEY)
    assert S_IMODE(directory.stat().st_mode) == 0o700
    assert {S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert len(_names(directory)) == 3


def test_a_directory_that_was_there_keeps_its_mode(directory: Path) -> None:
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    _keep(directory)
    assert S_IMODE(directory.stat().st_mode) == 0o755
    assert {S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_file_says_what_it_is_about(directory: Path) -> None:
    content = json.loads(_keep(directory).read_bytes())
    assert content == {"version": 1, **_KEY._asdict(), "location": _SAVED.location, "offset": _SAVED.offset}


def _content(**changes: object) -> bytes:
    said = {"version": 1, **_KEY._asdict(), "location": _SAVED.location, "offset": 1, **changes}
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        _content(version=2),
        _content(repository="team/other"),
        _content(offset=-1),
        _content(offset=True),
        _content(offset="1"),
        _content(location=None),
        _content(location="x" * 5_000_000),
        _content(parts=None),
        _content(parts="[[1]]"),
        _content(parts="["),
    ],
)
def test_a_file_that_is_not_ours_is_dropped(directory: Path, content: bytes) -> None:
    file = _keep(directory)
    file.write_bytes(content)
    assert FileResumeStore(directory).claim(_KEY) is None
    assert not file.exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link"])
def test_what_is_no_file_is_dropped_unread(directory: Path, tmp_path: Path, kind: str) -> None:
    file = _keep(directory)
    if kind == "pipe":
        file.unlink()
        os.mkfifo(file)
    else:
        file.rename(tmp_path / "aside")
        file.symlink_to(tmp_path / ("aside" if kind == "link" else "nowhere"))
    assert FileResumeStore(directory).claim(_KEY) is None
    assert not file.is_symlink()
    assert not file.exists()


@pytest.mark.skipif(os.name != "posix", reason="not everybody may make links elsewhere")
@pytest.mark.parametrize("travels", [False, True], ids=["here", "elsewhere"])
def test_a_clock_that_is_set_back_makes_no_wait_much_longer(directory: Path, travels: bool) -> None:  # noqa: FBT001
    """Found with the fault laboratory, which lets clocks jump."""
    holder, clock = FileResumeStore(directory), _Settable()
    holder.claim(_KEY)
    other = FileResumeStore(directory, clock=clock, wait_seconds=10.0)
    other = pickle.loads(pickle.dumps(other)) if travels else other
    for step in (0.0, 9.0, -1e7, 9.0):
        _Settable.now += step
        assert isinstance(other.claim(_KEY), InUseElsewhere)
    _Settable.now += 2.0
    assert other.claim(_KEY) is None
    other.release(_KEY)
    holder.release(_KEY)


def test_a_link_in_the_place_of_a_lock_is_not_followed(directory: Path, tmp_path: Path) -> None:
    file = _keep(directory)
    for lock in (file.with_suffix(".lock"), directory / "directory.lock"):
        lock.unlink(missing_ok=True)
        lock.symlink_to(tmp_path / "elsewhere")
        assert FileResumeStore(directory).claim(_KEY) is None
        assert not (tmp_path / "elsewhere").exists()
        lock.unlink()
    assert FileResumeStore(directory).claim(_KEY) == _SAVED


def test_an_upload_that_is_too_old_is_dropped(directory: Path) -> None:
    file, now = _keep(directory), time.time()
    assert FileResumeStore(directory, clock=lambda: now + 3600, max_age_seconds=3700).claim(_KEY) == _SAVED
    assert FileResumeStore(directory, clock=lambda: now + 3600, max_age_seconds=3500).claim(_KEY) is None
    assert not file.exists()


def test_a_first_claim_sweeps_out_what_is_old_and_nothing_else(directory: Path) -> None:
    old = _keep(directory)
    used = _keep(directory, _KEY._replace(repository="team/used"))
    fresh = _keep(directory, _OTHER)
    foreign = directory / "notes.json"
    torn = directory / f".{'a' * 64}.json.x1y2z3.tmp"
    orphan = directory / f"{'b' * 64}.lock"
    for path in (foreign, torn, orphan):
        path.write_text("")
    for path in (old, used, foreign, torn):
        os.utime(path, (0, 0))
    holder = FileResumeStore(directory, max_age_seconds=float("inf"))
    assert holder.claim(_KEY._replace(repository="team/used")) == _SAVED
    sessions = FileResumeStore(directory)
    sessions.claim(_KEY._replace(repository="team/new"))
    assert _names(directory, ".json") == sorted([used.name, fresh.name, foreign.name])
    assert not torn.exists()
    assert not orphan.exists()
    os.utime(fresh, (0, 0))
    sessions.claim(_KEY._replace(repository="team/newer"))
    assert fresh.exists(), "one instance sweeps once"


def test_at_most_so_many_are_kept_and_the_oldest_go_first(directory: Path) -> None:
    sessions = FileResumeStore(directory, max_kept=3)
    keys = [_KEY._replace(repository=f"team/{number}") for number in range(5)]
    for age, key in enumerate(reversed(keys)):
        sessions.claim(key)
        sessions.save(key, _SAVED)
        sessions.release(key)
        for file in directory.glob("*.json"):
            if json.loads(file.read_bytes())["repository"] == key.repository:
                now = time.time()
                os.utime(file, (now, now - 1000 + age))
    left = {json.loads(file.read_bytes())["repository"] for file in directory.glob("*.json")}
    assert left == {"team/0", "team/1", "team/2"}


def test_saving_again_drops_nobody(directory: Path) -> None:
    sessions = FileResumeStore(directory, max_kept=2)
    for key in (_OTHER, _KEY):
        sessions.claim(key)
        for _ in range(3):
            sessions.save(key, _SAVED)
        sessions.release(key)
    assert len(_names(directory, ".json")) == 2


@pytest.mark.parametrize("kind", ["file in the way", "full disk"])
def test_a_directory_that_cannot_be_used_means_that_nothing_is_kept(directory: Path, kind: str) -> None:
    if kind == "file in the way":
        directory.parent.write_text("")
        sessions = FileResumeStore(directory)
        assert sessions.claim(_KEY) is None
        sessions.save(_KEY, _SAVED)
        sessions.forget(_KEY)
        sessions.release(_KEY)
        return
    program = f"""
import resource
from pathlib import Path
from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local import FileResumeStore
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
key, sessions = UploadKey("o", "r", "d"), FileResumeStore(Path({str(directory)!r}))
print(sessions.claim(key))
sessions.save(key, ResumePoint("https://o/1", 5))
sessions.forget(key)
sessions.release(key)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    told = f"unfinished uploads cannot be kept in {directory}: File too large\n"
    assert (done.stdout, done.stderr) == ("None\n", told)
    assert _names(directory) == ["directory.lock"]


def test_the_directory_is_the_user_s_own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    sessions = FileResumeStore()
    assert not list(tmp_path.iterdir()), "nothing is made before it is needed"
    assert sessions.directory == tmp_path / "ollama-push" / "uploads"


def test_no_uploads_keeps_nothing() -> None:
    uploads = NoResume()
    assert uploads.claim(_KEY) is None
    uploads.save(_KEY, _SAVED)
    uploads.forget(_KEY)
    uploads.release(_KEY)
    assert uploads.claim(_KEY) is None


def test_another_thread_may_release_a_claim(directory: Path) -> None:
    sessions = FileResumeStore(directory)
    sessions.claim(_KEY)
    sessions.save(_KEY, _SAVED)
    thread = Thread(target=sessions.release, args=(_KEY,))
    thread.start()
    thread.join()
    assert FileResumeStore(directory).claim(_KEY) == _SAVED


@pytest.mark.skipif(os.name != "posix", reason="modes tell who may write there")
@pytest.mark.parametrize("mode", [0o770, 0o722, 0o1777])
def test_a_directory_that_others_may_write_to_is_not_used(directory: Path, mode: int) -> None:
    planted = _keep(directory)
    directory.chmod(mode)
    store = FileResumeStore(directory)
    assert store.problem() == "other users may write to it"
    assert store.claim(_KEY) is None
    store.save(_KEY, _SAVED)
    store.release(_KEY)
    assert planted.exists()
    directory.chmod(0o750)
    assert FileResumeStore(directory).problem() is None
    assert FileResumeStore(directory).claim(_KEY) == _SAVED


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_used(directory: Path) -> None:
    planted = _keep(directory)
    os.chown(planted, 12345, 12345)
    assert FileResumeStore(directory).claim(_KEY) is None
    assert not planted.exists()
    planted = _keep(directory)
    os.chown(directory, 12345, 12345)
    assert FileResumeStore(directory).problem() == "other users may write to it"
    assert FileResumeStore(directory).claim(_KEY) is None
    assert planted.exists()


_ON_A_FULL_DISK = """
import sys
from pathlib import Path
from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local import FileResumeStore

store = FileResumeStore(Path(sys.argv[1]))
print(store.problem())
for repository in ("a", "b"):
    key = UploadKey("https://registry.example.com", repository, "sha256:x")
    store.claim(key)
    store.save(key, ResumePoint("https://registry.example.com/u"))
    store.release(key)
"""


@pytest.mark.skipif(os.name != "posix", reason="the shell limits what may be written")
def test_a_full_disk_is_told_once_and_fails_nothing(directory: Path) -> None:
    # No file may have a byte: a write fails as on a full disk, and making files does not.
    words = [sys.executable, "-c", _ON_A_FULL_DISK, str(directory)]
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=without_coverage(os.environ),
    )
    assert done.stdout == "File too large\n"
    assert done.stderr == f"unfinished uploads cannot be kept in {directory}: File too large\n"
    assert _names(directory, ".json") == []
