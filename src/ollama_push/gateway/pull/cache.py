"""Keeps pulled blobs on disk, by digest: bounded, checked, and fetched once, however many ask for one at the same time.

Who reads a blob that is still fetched follows the file while it grows. A fetch that nobody reads any more is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from ollama_push.client._lanes import Lane
from ollama_push.core.errors import InvalidSetting, OllamaPushError
from ollama_push.core.registry.manifests import hex_of
from ollama_push.gateway.pull.ranges import Span, WantedRange
from ollama_push.gateway.pull.upstream import BlobReading, UpstreamRefused
from ollama_push.local.files import make_own_directory, open_regular, problem_text
from ollama_push.local.hashing import hash_range

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["BlobCache", "CacheUnusable", "CachedReading"]

_THREADS: Final = 4
_HASHING_THREADS: Final = 2
_READ_BYTES: Final = 1 << 20
_WRITE_BYTES: Final = 1 << 20
_FILE: Final = re.compile(r"sha256-([0-9a-f]{64})")
_PART: Final = re.compile(r"\.sha256-[0-9a-f]{64}\.[0-9]+\.part")

T = TypeVar("T")

Fetch = Callable[[], AbstractAsyncContextManager[BlobReading]]
"""Opens a whole blob of a registry."""

_Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last changes of the content and of the file: a writer changes one."""


class CacheUnusable(Exception):
    """The cache cannot keep a blob, because it is too large or the disk does not take it; it can be read without."""


@attrs.define(eq=False)
class _Entry:
    """A blob of which somebody reads.

    Attributes:
        descriptor: Of its file, open to be read and written.
        total: Its size; -1 until it is known.
        written: How many bytes of it are in the file.
        readers: How many read it.
        error: Why it will not get complete.
        fetching: Fetches or checks it; ends when it is complete, or with *error*.
    """

    descriptor: int = -1
    total: int = -1
    written: int = 0
    readers: int = 0
    error: Exception | None = None
    fetching: asyncio.Task[None] | None = None
    _grown: asyncio.Event = attrs.field(factory=asyncio.Event)

    def note(self) -> None:
        """Wake up those who wait for more."""
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until *holds*.

        Raises:
            Exception: It never will.
        """
        while not holds():
            if self.error is not None:
                raise self.error
            await self._grown.wait()


class CachedReading:
    """A blob, or a range of it, that is read from the cache.

    Args:
        entry: The blob; its size is known.
        span: The bytes that are wanted.
        lane: Reads files.

    Attributes:
        span: As given.
    """

    def __init__(self, entry: _Entry, span: Span, lane: Lane) -> None:
        self.span: Span = span
        self._entry = entry
        self._lane = lane

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes, as they are there.

        Raises:
            OllamaPushError: The registry does not send the rest.
            UpstreamRefused: Likewise.
            CacheUnusable: The disk does not take the rest, or has lost it.
        """
        entry, at = self._entry, self.span.start
        while at < self.span.end:
            await entry.wait_until(lambda: entry.written > at)  # noqa: B023 - called before at changes
            size = min(_READ_BYTES, entry.written - at, self.span.end - at)
            data = await _whole(self._lane.start(os.pread, entry.descriptor, size, at))
            if not data:
                raise CacheUnusable("a file of the cache was cut")
            at += len(data)
            yield data


class BlobCache:
    """The blobs in one folder. Belongs to one event loop and one process.

    Args:
        folder: Made if missing, for its owner only.
        most_bytes: Beyond this, the blobs that were not read for longest are removed.
        fetched: Called with the bytes that come from registries.
    """

    def __init__(self, folder: Path, most_bytes: int, fetched: Callable[[int], None] = lambda _size: None) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._fetched = fetched
        self._lane = Lane("gateway-cache", _THREADS)
        self._hashing = Lane("gateway-cache-check", _HASHING_THREADS)
        self._lock: BaseFileLock | None = None
        self._numbers = itertools.count()
        # Of complete files, in the order of their last use.
        self._sizes: dict[str, int] = {}
        self._stamps: dict[str, _Stamp] = {}
        self._entries: dict[str, _Entry] = {}
        self._filling: set[_Entry] = set()

    def open(self) -> None:
        """Take the folder over; needs to be called first.

        Raises:
            InvalidSetting: It cannot be used.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - only with a cache

        if not hasattr(os, "pread"):
            raise InvalidSetting("cache", str(self._folder), "this system cannot read files at a place")
        try:
            make_own_directory(self._folder)
            # It is taken in one thread and released in another.
            lock = FileLock(self._folder / "lock", timeout=0, thread_local=False)
            lock.acquire()
        except Timeout:
            raise InvalidSetting("cache", str(self._folder), "another gateway uses it") from None
        except (OSError, RuntimeError) as exc:
            raise InvalidSetting("cache", str(self._folder), f"it cannot be used: {problem_text(exc)}") from exc
        self._lock = lock
        found: list[tuple[float, str, int]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _PART.fullmatch(entry.name):
                    Path(entry.path).unlink(missing_ok=True)  # of a gateway that was killed
                elif (name := _FILE.fullmatch(entry.name)) is not None:
                    state = entry.stat(follow_symlinks=False)
                    found.append((state.st_mtime, f"sha256:{name[1]}", state.st_size))
        self._sizes = {digest: size for _, digest, size in sorted(found)}
        self._make_room(0)

    async def close(self) -> None:
        """Cancel what is fetched, and let another process have the folder. Idempotent."""
        fetching = [entry.fetching for entry in self._entries.values() if entry.fetching is not None]
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)
        self._lane.retire()
        self._hashing.retire()
        if self._lock is not None:
            self._lock.release()

    @asynccontextmanager
    async def blob(self, digest: str, wanted: WantedRange | None, fetch: Fetch) -> AsyncIterator[CachedReading]:
        """Open a blob, or a range of it, from the folder; what is not there is fetched into it.

        Args:
            digest: A checked one: it names the file.
            wanted: The range.
            fetch: Opens it at its registry.

        Raises:
            RangeNotSatisfiable: There are no such bytes.
            CacheUnusable: It cannot be kept.
            OllamaPushError: The registry does not send it.
            UpstreamRefused: Likewise.
        """
        entry = self._entries.get(digest)
        if entry is None:
            entry = self._entries[digest] = _Entry()
            entry.fetching = asyncio.create_task(self._provide(digest, entry, fetch), name="ollama-push-cache")
        entry.readers += 1
        try:
            await entry.wait_until(lambda: entry.total >= 0)
            span = Span(0, entry.total, entry.total) if wanted is None else wanted.within(entry.total)
            yield CachedReading(entry, span, self._lane)
        finally:
            entry.readers -= 1
            if not entry.readers:
                await self._leave(digest, entry)

    async def _leave(self, digest: str, entry: _Entry) -> None:
        """Forget a blob that nobody reads any more; what is not complete is not wanted."""
        if self._entries.get(digest) is entry:
            del self._entries[digest]
        if entry.fetching is not None:
            entry.fetching.cancel()
            await asyncio.wait([entry.fetching])
        if entry.descriptor >= 0:
            os.close(entry.descriptor)

    async def _provide(self, digest: str, entry: _Entry, fetch: Fetch) -> None:
        """Find the blob in the folder or fetch it."""
        try:
            if not await self._find(digest, entry):
                await self._fetch(digest, entry, fetch)
        except (OllamaPushError, UpstreamRefused, CacheUnusable) as exc:
            entry.error = exc
        except OSError as exc:
            entry.error = CacheUnusable(problem_text(exc))
        finally:
            if entry.error is not None and self._entries.get(digest) is entry:
                del self._entries[digest]  # the next one who asks begins anew
            entry.note()

    async def _find(self, digest: str, entry: _Entry) -> bool:
        """Open the file of a blob that was fetched before; return whether it still is that blob."""
        if digest not in self._sizes:
            return False
        path = self._path(digest)
        try:
            entry.descriptor = await self._lane.run(open_regular, path)
        except (OSError, ValueError):
            self._remove(digest)
            return False
        stamp = _stamp_of(entry.descriptor)
        if self._stamps.get(digest) != stamp:
            found = await _whole(self._hashing.start(_digest_of, entry.descriptor))
            if found != digest or _stamp_of(entry.descriptor) != stamp:
                os.close(entry.descriptor)
                entry.descriptor = -1
                self._remove(digest)
                return False
            self._stamps[digest] = stamp
        # Used last.
        self._sizes[digest] = self._sizes.pop(digest)
        entry.total = entry.written = os.fstat(entry.descriptor).st_size
        return True

    async def _fetch(self, digest: str, entry: _Entry, fetch: Fetch) -> None:
        part = self._folder / f".sha256-{hex_of(digest)}.{next(self._numbers)}.part"
        async with fetch() as reading:
            total = reading.span.total
            self._make_room(total)
            try:
                entry.descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                entry.total = total
                self._filling.add(entry)
                entry.note()
                async with aclosing(reading.chunks()) as chunks:
                    found = await self._fill(entry, chunks)
                if found != digest:
                    raise CacheUnusable("the registry sends another blob than this")
                part.replace(self._path(digest))
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            finally:
                self._filling.discard(entry)
        self._sizes[digest] = total
        self._stamps[digest] = _stamp_of(entry.descriptor)
        entry.written = total

    async def _fill(self, entry: _Entry, chunks: AsyncGenerator[bytes | memoryview, None]) -> str:
        """Write what comes, and return its digest; the last piece does not count as written before it was checked."""
        hasher, held, place = hashlib.sha256(), bytearray(), 0

        def write(data: bytearray, start: int) -> None:
            hasher.update(data)
            view = memoryview(data)
            while view:
                count = os.pwrite(entry.descriptor, view, start)
                start, view = start + count, view[count:]

        async def flush() -> None:
            nonlocal held, place
            data, held = held, bytearray()
            await _whole(self._lane.start(write, data, place))
            self._fetched(len(data))
            place += len(data)

        async for chunk in chunks:
            if len(held) >= _WRITE_BYTES:
                await flush()
                entry.written = place
                entry.note()
            held += chunk
        await flush()
        return f"sha256:{hasher.hexdigest()}"

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest until *size* bytes fit; who reads such a blob still gets it.

        Raises:
            CacheUnusable: They do not fit beside what is being fetched.
        """
        filling = sum(entry.total for entry in self._filling)
        if filling + size > self._most_bytes:
            raise CacheUnusable("it is larger than the room that the cache has")
        while self._sizes and filling + sum(self._sizes.values()) + size > self._most_bytes:
            self._remove(next(iter(self._sizes)))

    def _remove(self, digest: str) -> None:
        self._sizes.pop(digest, None)
        self._stamps.pop(digest, None)
        with contextlib.suppress(OSError):
            self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / f"sha256-{hex_of(digest)}"


async def _whole(work: asyncio.Future[T]) -> T:
    """Return what *work* returns in its thread; a cancellation waits for it: its descriptor is closed then."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _stamp_of(descriptor: int) -> _Stamp:
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _digest_of(descriptor: int) -> str:
    # Readers say where they read, so that its position is nobody else's.
    hasher = hashlib.sha256()
    with FileIO(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        with contextlib.suppress(ValueError):  # cut meanwhile: it is another blob
            hash_range(file, os.fstat(descriptor).st_size, hasher)
    return f"sha256:{hasher.hexdigest()}"
