"""Sends a part of a blob from a small buffer, and fails if the file changes meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Final

from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason
from ollama_push.core.facts import StoreDamaged, StoreProblem
from ollama_push.core.responses import BodyWatch
from ollama_push.local.files import BlobFile, identity_of, open_regular, problem_text

__all__ = ["BlobBody", "BodyCancelled", "MemoryBody"]

_BUFFER_BYTES: Final = 256 * 1024
"""Measured as the cheapest reads for both transports; larger ones cost more CPU time per byte."""


class BodyCancelled(Exception):
    """The body was cancelled before it was whole."""


class BlobBody:
    """A span of a blob as the body of a request (``core.ports.SizedBody``).

    An iteration yields exactly ``len()`` bytes or raises, and it raises before it yields the last buffer: a request
    whose file changed is never complete.

    Args:
        file: The blob.
        offset: First byte.
        size: How many bytes.
        moved: Called with the length of each buffer after the consumer has used it.
        cancelled: Asked before each buffer; if it returns true, :class:`BodyCancelled` is raised.
        watch: Sees each buffer before the consumer does; ``None`` for nobody.

    Attributes:
        failure: The error of the last iteration, because HTTP libraries wrap or swallow what a body raises;
            ``None`` without an error, and after :class:`BodyCancelled`.
    """

    def __init__(
        self,
        file: BlobFile,
        offset: int,
        size: int,
        *,
        moved: Callable[[int], None],
        cancelled: Callable[[], bool],
        watch: BodyWatch | None = None,
    ) -> None:
        self._file = file
        self._offset = offset
        self._size = size
        self._moved = moved
        self._cancelled = cancelled
        self._watch = watch
        self.failure: OllamaPushError | None = None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        self.failure = None
        return self._buffers()

    def _buffers(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(_BUFFER_BYTES, self._size)))
        with self._opened() as source:
            left = self._size
            if self._watch is not None:
                self._watch.begin()
            while left:
                if self._cancelled():
                    raise BodyCancelled
                count = self._fill(source, buffer[: min(left, len(buffer))])
                if self._watch is not None:
                    self._watch.receive(buffer[:count])
                yield buffer[:count]
                self._moved(count)
                left -= count

    def _opened(self) -> FileIO:
        try:
            source = FileIO(open_regular(self._file.path), "rb")
        except (OSError, ValueError) as exc:
            raise self._failed(exc) from exc
        try:
            self._check(source)
            first = self._file.start + self._offset
            source.seek(first)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(source.fileno(), first, self._size, os.POSIX_FADV_SEQUENTIAL)
        except (OSError, ValueError) as exc:
            source.close()
            raise self._failed(exc) from exc
        return source

    def _fill(self, source: FileIO, buffer: memoryview) -> int:
        try:
            count = source.readinto(buffer)
            self._check(source)
            if not count:
                raise ValueError("it ends too early")
        except (OSError, ValueError) as exc:
            raise self._failed(exc) from exc
        return count

    def _check(self, source: FileIO) -> None:
        if identity_of(os.fstat(source.fileno())) != self._file.identity:
            raise ValueError("it has changed since the push began")

    def _failed(self, exc: OSError | ValueError) -> OllamaPushError:
        facts = StoreDamaged(StoreProblem.BLOB_CHANGED, str(self._file.path), words=problem_text(exc))
        self.failure = PushRejected("", RejectionReason.STORE_DAMAGED, facts)
        return self.failure


class MemoryBody:
    """A span of a small blob that is held in memory, as the body of a request.

    Args:
        data: The span.
        moved: Called with the length of the buffer after the consumer has used it.
        watch: Sees the buffer before the consumer does; ``None`` for nobody.
    """

    failure: OllamaPushError | None = None

    def __init__(self, data: bytes, *, moved: Callable[[int], None], watch: BodyWatch | None = None) -> None:
        self._data = data
        self._moved = moved
        self._watch = watch

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        if self._watch is not None:
            self._watch.begin()
            self._watch.receive(memoryview(self._data))
        yield self._data
        self._moved(len(self._data))
