"""Ranges of a blob: what a client asks for, and what a registry sends.

Source: RFC 9110, 14 (a range that is not understood is ignored; one range is enough for any client of registries).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self

import attrs

__all__ = ["RangeNotSatisfiable", "Span", "WantedRange"]

_WANTED: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_SENT: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


class RangeNotSatisfiable(Exception):
    """A range begins behind the end of the blob.

    Args:
        total: Bytes of the blob.
    """

    def __init__(self, total: int) -> None:
        super().__init__(f"the blob has {total} bytes")
        self.total = total


@attrs.frozen
class Span:
    """Bytes of a blob.

    Attributes:
        start: The first.
        end: The first that is not among them.
        total: Bytes of the blob.
    """

    start: int
    end: int
    total: int

    @classmethod
    def sent(cls, status: int, headers: Mapping[str, str]) -> Self | None:
        """Return what a registry's response holds; ``None`` when it does not say."""
        if status == 206:  # noqa: PLR2004 - Partial Content
            found = _SENT.fullmatch(headers.get("content-range", "").strip())
            if found is None:
                return None
            start, last, total = map(int, found.groups())
            return cls(start, last + 1, total) if start <= last < total else None
        length = headers.get("content-length", "")
        return cls(0, int(length[:18]), int(length[:18])) if length.isdecimal() else None

    @property
    def size(self) -> int:
        """How many bytes these are."""
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """As a header of a response."""
        return f"bytes {self.start}-{self.end - 1}/{self.total}"


@attrs.frozen
class WantedRange:
    """What a client asks for.

    Attributes:
        first: The first byte; ``None`` for the last ones.
        last: The last byte, or how many of the last ones; ``None`` for all up to the end.
    """

    first: int | None
    last: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the range in a ``Range`` header; ``None`` for the whole, or for what is not understood."""
        found = _WANTED.fullmatch(text.strip())
        if found is None:
            return None
        first, last, suffix = found.groups()
        if suffix is not None:
            return cls(None, int(suffix))
        end = int(last) if last else None
        return None if end is not None and end < int(first) else cls(int(first), end)

    def within(self, total: int) -> Span:
        """Return the bytes of a blob of *total* bytes.

        Raises:
            RangeNotSatisfiable: There are none.
        """
        if self.first is None:
            count = min(self.last or 0, total)
            start, end = total - count, total
        else:
            start, end = self.first, total if self.last is None else min(self.last + 1, total)
        if start >= end:
            raise RangeNotSatisfiable(total)
        return Span(start, end, total)
