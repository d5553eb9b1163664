"""Sends a part of a blob without holding it: one small buffer, refilled, and a file that must not change.

256 KiB are the cheapest reads for both transports: larger ones cost more CPU time a byte, not less.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Final

from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason
from ollama_push.local.files import BlobFile, identity_of, open_regular

__all__ = ["BlobBody", "BodyHalted"]

_BUFFER_BYTES: Final = 256 * 1024


class BodyHalted(Exception):
    """The body was told to stop before it was whole."""


class BlobBody:
    """A span of a blob as a request's body (``core.ports.SizedBody``).

    Either exactly ``len()`` bytes are given or an exception is raised, and it is raised before the last buffer
    is handed over: a request whose file changed never becomes whole.

    Args:
        file: The blob.
        offset: First byte.
        size: How many bytes.
        moved: Called with the length of each buffer when the consumer is done with it.
        halted: Asked before each buffer; once it says yes, :class:`BodyHalted` is raised.

    Attributes:
        failure: What ended the last iteration early, since libraries wrap or swallow what a body raises;
            ``None`` while nothing did, and after :class:`BodyHalted`.
    """

    def __init__(
        self, file: BlobFile, offset: int, size: int, *, moved: Callable[[int], None], halted: Callable[[], bool]
    ) -> None:
        self._file = file
        self._offset = offset
        self._size = size
        self._moved = moved
        self._halted = halted
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
            while left:
                if self._halted():
                    raise BodyHalted
                count = self._fill(source, buffer[: min(left, len(buffer))])
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
            source.seek(self._offset)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(source.fileno(), self._offset, self._size, os.POSIX_FADV_SEQUENTIAL)
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
        words = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        self.failure = PushRejected(
            f"the blob file {self._file.path} cannot be sent: {words}", RejectionReason.STORE_DAMAGED, by_peer=False
        )
        return self.failure
