"""Bodies read from blobs: exactly the span, in one small buffer, or an error that says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.ports import SizedBody
from ollama_push.local import BlobBody, BlobFile, BodyCancelled
from ollama_push.local.bodies import MemoryBody
from ollama_push.local.files import identity_of

_DATA: Final = bytes(range(256)) * 4096  # 1 MiB
_BUFFER: Final = 256 * 1024


def _file(path: Path) -> BlobFile:
    state = path.stat()
    return BlobFile(path, state.st_size, identity_of(state))


class _Watched:
    """A body, what it reported, and a switch to halt it."""

    def __init__(self, file: BlobFile, offset: int = 0, size: int | None = None) -> None:
        self.moved: list[int] = []
        self.cancelled = False
        self.body = BlobBody(
            file,
            offset,
            file.size - offset if size is None else size,
            moved=self.moved.append,
            cancelled=lambda: self.cancelled,
        )


@pytest.fixture
def blob(tmp_path: Path) -> BlobFile:
    (tmp_path / "blob").write_bytes(_DATA)
    return _file(tmp_path / "blob")


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _damage(body: BlobBody, buffers: Iterator[memoryview | bytes]) -> str:
    """Read on until the error, and return its text."""
    with pytest.raises(PushRejected) as caught:
        for _ in buffers:
            pass
    assert body.failure is caught.value
    assert caught.value.reason is RejectionReason.STORE_DAMAGED
    return caught.value.message


@pytest.mark.parametrize(
    ("offset", "size"), [(0, len(_DATA)), (0, 0), (5, 1), (1, _BUFFER), (7, _BUFFER + 1), (len(_DATA) - 3, 3)]
)
def test_a_body_is_the_span_and_nothing_else(blob: BlobFile, offset: int, size: int) -> None:
    watched = _Watched(blob, offset, size)
    assert isinstance(watched.body, SizedBody)
    assert len(watched.body) == size
    for _ in range(2):  # each iteration starts over
        watched.moved.clear()
        assert b"".join(watched.body) == _DATA[offset : offset + size]
        assert sum(watched.moved) == size
    assert watched.body.failure is None


def test_one_buffer_is_used_again_and_again(blob: BlobFile) -> None:
    objects, sizes = set(), []
    for buffer in _Watched(blob).body:
        assert isinstance(buffer, memoryview)
        objects.add(id(buffer.obj))
        sizes.append(len(buffer))
    assert len(objects) == 1
    assert sizes == [_BUFFER] * 4


def test_a_buffer_counts_as_moved_when_the_next_is_asked_for(blob: BlobFile) -> None:
    watched = _Watched(blob)
    buffers = iter(watched.body)
    next(buffers)
    assert watched.moved == []
    next(buffers)
    assert watched.moved == [_BUFFER]
    assert sum(map(len, buffers)) == 2 * _BUFFER
    assert watched.moved == [_BUFFER] * 4


def test_a_cancelled_body_ends_without_a_failure(blob: BlobFile) -> None:
    watched = _Watched(blob)
    buffers = iter(watched.body)
    next(buffers)
    watched.cancelled = True
    with pytest.raises(BodyCancelled):
        next(buffers)
    assert watched.body.failure is None
    assert watched.moved == [_BUFFER]


def test_the_file_is_closed_however_the_reading_ends(blob: BlobFile) -> None:
    before = _open_descriptors()
    assert sum(map(len, _Watched(blob).body)) == len(_DATA)
    left = iter(_Watched(blob).body)
    next(left)
    assert _open_descriptors() == before + 1
    left.close()  # type: ignore[attr-defined]  # the iterator is a generator, as transports know
    cancelled = _Watched(blob)
    cancelled.cancelled = True
    with pytest.raises(BodyCancelled):
        next(iter(cancelled.body))
    os.truncate(blob.path, 10)
    changed = _Watched(blob)
    _damage(changed.body, iter(changed.body))
    assert _open_descriptors() == before


def _shrink(path: Path) -> None:
    os.truncate(path, _BUFFER + 10)


def _grow(path: Path) -> None:
    os.truncate(path, len(_DATA) + 1)


def _rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(0, 1))


@pytest.mark.parametrize("change", [_shrink, _grow, _rewrite])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_file_that_changes_never_makes_a_whole_body(blob: BlobFile, change: object, after: int) -> None:
    assert callable(change)
    watched = _Watched(blob)
    buffers = iter(watched.body)
    given = sum(len(next(buffers)) for _ in range(after))
    change(blob.path)
    message = _damage(watched.body, buffers)
    assert message == f"the blob file {blob.path} cannot be sent: it has changed since the push began"
    assert given < len(_DATA)


def test_another_file_in_its_place_is_noticed(blob: BlobFile, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(_DATA)
    os.utime(other, ns=(0, blob.identity[3]))
    other.replace(blob.path)
    watched = _Watched(blob)
    assert "it has changed" in _damage(watched.body, iter(watched.body))


def test_a_failure_is_forgotten_when_the_body_is_read_again(blob: BlobFile, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    blob.path.rename(aside)
    watched = _Watched(blob)
    assert "No such file" in _damage(watched.body, iter(watched.body))
    aside.rename(blob.path)
    assert b"".join(watched.body) == _DATA
    assert watched.body.failure is None


def test_a_span_beyond_the_end_is_an_error_and_not_silence(blob: BlobFile) -> None:
    watched = _Watched(blob, len(_DATA) - 1, 5)
    assert "it ends too early" in _damage(watched.body, iter(watched.body))


def test_a_read_error_of_the_disk_is_put_into_words() -> None:
    # Address 0 of a process is never mapped: reading there is a real EIO.
    path = Path("/proc/self/mem")
    if not path.exists():
        pytest.skip("needs /proc")
    with path.open("rb") as held:  # keeps the inode from being made anew
        state = os.fstat(held.fileno())
        body = BlobBody(BlobFile(path, 10, identity_of(state)), 0, 10, moved=lambda _: None, cancelled=lambda: False)
        message = _damage(body, iter(body))
    assert message == "the blob file /proc/self/mem cannot be sent: Input/output error"


@pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
def test_what_is_no_regular_file_is_not_opened(blob: BlobFile, tmp_path: Path, kind: str) -> None:
    blob.path.rename(tmp_path / "aside")
    if kind == "directory":
        blob.path.mkdir()
    elif kind == "pipe":
        os.mkfifo(blob.path)  # opening it would wait for a writer
    else:
        blob.path.symlink_to(tmp_path / "aside")
    watched = _Watched(blob)
    assert "it is no regular file" in _damage(watched.body, iter(watched.body))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1 << 30)
    program = f"""
import resource
from pathlib import Path
from ollama_push.local import BlobBody, BlobFile
from ollama_push.local.files import identity_of
path = Path({str(path)!r})
state = path.stat()
body = BlobBody(
    BlobFile(path, state.st_size, identity_of(state)), 0, state.st_size, moved=lambda n: None, cancelled=lambda: False
)
next(iter(body))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert sum(map(len, body)) == 1 << 30
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 2048  # KiB


class Watch:
    """Writes down what it sees."""

    completed = 0

    def __init__(self) -> None:
        self.seen: list[bytes | str] = []

    def begin(self) -> None:
        self.seen.append("begin")

    def receive(self, buffer: memoryview, /) -> None:
        self.seen.append(bytes(buffer))


def test_a_watch_sees_every_byte_before_the_consumer_and_each_beginning(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"0123456789")
    watch = Watch()
    file = BlobFile(path, 10, identity_of(path.stat()))
    from_disk = BlobBody(file, 2, 5, moved=lambda _: None, cancelled=lambda: False, watch=watch)
    in_memory = MemoryBody(b"23456", moved=lambda _: None, watch=watch)
    for body in (from_disk, from_disk, in_memory):
        watch.seen.clear()
        for piece in body:
            assert watch.seen == ["begin", bytes(piece)]
