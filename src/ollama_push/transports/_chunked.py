"""Takes the chunked coding off a body, many chunks at a time.

http.client does it chunk by chunk, in reads of 8 KiB: on a stream of short lines that costs more than
everything else we do with them.

Source: RFC 9112, 7.1.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ChunkedBody"]

_CRLF: Final = b"\r\n"
# Behind the line end of the chunk before; an extension may follow and is ignored.
_SIZE: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")
_MAX_HELD_BYTES: Final = 65536
"""Longest size line, and longest trailer section, that is waited for (http.client: 65,536 a line)."""


class ChunkedBody:
    """Bytes of the coding in, bytes of the body out, as they come and however they are cut.

    Attributes:
        last: Whether the last chunk was seen; only trailers can follow.
        ended: Whether the body is complete, trailers included.
        surplus: What came after it.
        problem: How the coding is broken; what was good before it has been returned.
    """

    __slots__ = ("_held", "_left", "ended", "last", "problem", "surplus")

    def __init__(self) -> None:
        # Every size line follows the line end of the chunk before: the first one too, this way.
        self._held = _CRLF
        self._left = 0  # bytes of the current chunk still to come
        self.last = self.ended = False
        self.surplus = b""
        self.problem: ValueError | None = None

    def decode(self, data: bytes) -> bytes:
        """Return the body's bytes in *data*, which follows the data of the call before."""
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
                # The line end stays with the trailers, which are over where two line ends meet.
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
