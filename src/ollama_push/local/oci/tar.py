"""Tar archives as far as layouts need them: where each file is, and the headers that we write.

Nothing is ever extracted: names are looked up, and blobs are read where they stand in the archive. What could mislead
whoever does extract it is refused all the same.

Source: POSIX.1-2017, "pax Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import FileIO
from typing import Any, Final

import attrs

__all__ = ["BLOCK", "END", "TarMember", "file_header", "folder_header", "padding", "read_members", "whole_members"]

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
"""What ends an archive."""

_MOST_MEMBERS: Final = 100_000
_MOST_READ_AT_ONCE: Final = 1024 * 1024
"""A header that announces a longer name than this is an attack on our memory."""
_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755


@attrs.frozen
class TarMember:
    """A regular file in an archive.

    Attributes:
        name: Its path, without a leading ``./``.
        start: Where its content begins.
        size: Its bytes.
    """

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.start + self.size + len(padding(self.size))


def read_members(file: FileIO) -> Mapping[str, TarMember]:
    """Return the regular files of the archive *file*, by name.

    Raises:
        ValueError: It is no archive, is cut or damaged, or holds what must not be in it; the text says what.
        OSError: It cannot be read.
    """
    found: dict[str, TarMember] = {}
    members = _Members(file)
    for member in members:
        if member.name in found:
            raise ValueError(f"it holds {member.name!r} twice")
        found[member.name] = member
    if os.pread(file.fileno(), len(END), members.offset) != END:
        raise ValueError("it is cut, or damaged")
    return found


def whole_members(file: FileIO) -> list[TarMember]:
    """Return the regular files at the beginning of an unfinished archive that are there as a whole."""
    found: list[TarMember] = []
    with suppress(OSError, ValueError):
        for member in _Members(file):
            found.append(member)  # noqa: PERF402 - what was read before an error counts
    size = os.fstat(file.fileno()).st_size
    return [member for member in found if member.end <= size]


class _Members:
    """Reads one header after the other; ``offset`` is where the next one begins."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.offset: int = 0

    def __iter__(self) -> Iterator[TarMember]:
        size = os.fstat(self._file.fileno()).st_size
        try:
            # tarfile reads, seeks and tells, and nothing else.
            source: Any = _Limited(self._file)
            with tarfile.open(fileobj=source, mode="r:") as archive:
                for _ in range(_MOST_MEMBERS):
                    info = archive.next()
                    self.offset = archive.offset
                    if info is None:
                        return
                    archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
                    if (member := _checked(info)) is not None:
                        if member.start + member.size > size:
                            raise ValueError("it is cut, or damaged")
                        yield member
        except (tarfile.TarError, EOFError, UnicodeError, OverflowError) as exc:
            raise ValueError(f"it is no tar archive, or damaged: {exc}") from exc
        raise ValueError(f"it holds more than {_MOST_MEMBERS} files")


class _Limited:
    """A file of which no header can have us read much at once."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        """Read *size* bytes."""
        if not 0 <= size <= _MOST_READ_AT_ONCE:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size) or b""


def _checked(info: tarfile.TarInfo) -> TarMember | None:
    """Return the file that *info* describes; ``None`` for a folder.

    Raises:
        ValueError: It must not be in an archive of models.
    """
    name = info.name
    while name.startswith("./"):
        name = name[2:]
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise ValueError(f"it holds {info.name!r}, which leads out of it")
    if info.isdir():
        return None
    if not info.isreg() or info.issparse():
        raise ValueError(f"it holds {info.name!r}, which is no plain file")
    return TarMember(name, info.offset_data, info.size)


def file_header(name: str, size: int) -> bytes:
    """Return the header of a file; the same for the same arguments, whoever writes it and when."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _FILE_MODE
    return info.tobuf(tarfile.PAX_FORMAT)


def folder_header(name: str) -> bytes:
    """Return the header of a folder."""
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, _FOLDER_MODE
    return info.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """Return what fills the last block of a file of *size* bytes."""
    return bytes(-size % BLOCK)
