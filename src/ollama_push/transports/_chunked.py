"""Removes the chunked transfer coding of a body, many chunks at a time.

http.client does it one chunk at a time, in reads of 8 KiB: on a stream of short lines that takes longer than
all other work on them.

Source: RFC 9112, 7.1.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ChunkedBody"]

_CRLF: Final = b"\r\n"
# Follows the line end of the previous chunk; a chunk extension is ignored.
_SIZE: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")
_MAX_HELD_BYTES: Final = 65536
"""Longest size line, and longest trailer section, that is accepted (http.client: 65,536 bytes a line)."""


class ChunkedBody:
    """Decodes a chunked body from data that may be cut anywhere.

    Attributes:
        last: Whether the last chunk was seen; only trailers can follow.
        ended: Whether the body is complete, trailers included.
        surplus: The bytes after it.
        problem: Why the coding is invalid; the body up to there has been returned.
    """

    __slots__ = ("_held", "_left", "ended", "last", "problem", "surplus")

    def __init__(self) -> None:
        # With this, every size line follows a line end, the first one too.
        self._held = _CRLF
        self._left = 0  # bytes of the current chunk still to come
        self.last = self.ended = False
        self.surplus = b""
        self.problem: ValueError | None = None

    def decode(self, data: bytes) -> bytes:
        """Return the body's bytes in *data*, which continues the data of the previous call."""
        data = self._held + data
        pieces: list[bytes] = []
        start = 0
        while not self.last:
            end = start + self._left
            cut = data.find(_CRLF, end + 2)
            if cut < 0:
                break
            pieces.append(data[start:end])
            size = _SIZE.fullmatch(data, end, cut)
            if size is None:
                self.problem = ValueError(f"no chunk size: {data[end:cut][:80]!r}")
                return b"".join(pieces)
            start, self._left = cut + 2, int(size[1], 16)
            if not self._left:
                # The line end stays with the trailers: they end where two line ends meet.
                start, self.last = cut, True
        if self.last:
            _trailers, line_ends, self.surplus = data[start:].partition(_CRLF + _CRLF)
            self.ended = bool(line_ends)
        else:
            pieces.append(data[start : start + self._left])
            start += len(pieces[-1])
            self._left -= len(pieces[-1])
        self._held = data[start:]
        if len(self._held) > _MAX_HELD_BYTES and not self.ended:
            self.problem = ValueError(f"no line end in {_MAX_HELD_BYTES} bytes")
        return b"".join(pieces)
