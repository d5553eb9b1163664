"""What Ollama's registry offers besides the distribution-spec: URLs that it signs, for bytes that go past it.

A registry is known by its responses. One that names a session in ``Docker-Upload-Location`` redirects each part to a
signed URL when it is asked to. One that names ``X-Direct-Upload-URL`` takes the whole blob there.
Source: ollama ``server/upload.go`` and ``x/transfer/upload.go`` at v0.32.15.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ollama_push.core.registry.resume import SentPart
from ollama_push.core.responses import BufferedResponse

__all__ = [
    "PARTS_AT_ONCE",
    "REDIRECT_PART",
    "DirectOffer",
    "Redirects",
    "etag_of",
    "follow_each_other",
    "is_redirect",
    "part_spans",
]

PARTS_AT_ONCE: Final = 16
"""How many parts are on their way at the same time, those of all blobs together; as ollama does."""

REDIRECT_PART: Final[Mapping[str, str]] = {"X-Redirect-Uploads": "1"}
"""Asks in the ``PATCH`` of a part for a signed URL; registries that do not know it take the part."""

_REDIRECT_WHOLE: Final = "2"
_PARTS: Final = 16
_SMALLEST_PART_BYTES: Final = 100_000_000
_LARGEST_PART_BYTES: Final = 1_000_000_000
_MOST_PARTS: Final = 10_000
"""What object stores take in one upload."""
_SIGNED_HEADER: Final = "x-signed-header-"
# They frame the request, or say whose it is: no peer decides about them.
_OWN_HEADERS: Final = frozenset(
    {"authorization", "connection", "content-length", "cookie", "expect", "host", "te", "trailer", "transfer-encoding",
     "upgrade"}
)  # fmt: skip
_REDIRECTION: Final = 307


@attrs.define
class Redirects:
    """What the uploads of one push may use of the offer, and what they have learned.

    Attributes:
        parts_at_once: How many parts of one blob may be on their way at the same time.
        part_bytes: Size of a part; ``None`` for the size that ollama takes.
        asks_for_blobs: Whether a session is opened with the digest of its blob, as only Ollama's registry knows it.
        whole: Whether whole blobs may go to signed URLs.
        parts: Whether parts may.
        offered: Whether the registry has redirected a part.
    """

    parts_at_once: int = PARTS_AT_ONCE
    part_bytes: int | None = None
    asks_for_blobs: bool = False
    whole: bool = True
    parts: bool = True
    offered: bool = False

    def opening_headers(self, size: int) -> dict[str, str]:
        """Return what asks for a URL for a whole blob of *size* bytes, in the request that opens its session."""
        return {"X-Redirect-Uploads": _REDIRECT_WHOLE, "X-Content-Length": str(size)} if self.whole else {}

    def part_headers(self) -> Mapping[str, str]:
        """Return what asks for a URL for a part."""
        return REDIRECT_PART if self.parts else {}

    def are_offered(self, opened: BufferedResponse) -> bool:
        """Say whether parts go to signed URLs in the session that *opened* names."""
        return self.parts and (self.offered or "docker-upload-location" in opened.headers)


@attrs.frozen
class DirectOffer:
    """Where a whole blob may go.

    Attributes:
        location: As the registry names it.
        headers: What was signed, and must be sent along.
    """

    location: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)

    @classmethod
    def of(cls, opened: BufferedResponse) -> DirectOffer | None:
        """Return the offer in the response that opened a session."""
        location = opened.headers.get("x-direct-upload-url", "")
        if not location:
            return None
        named = ((name.removeprefix(_SIGNED_HEADER), value) for name, value in opened.headers.items())
        signed = {name: value for name, value in named if f"{_SIGNED_HEADER}{name}" in opened.headers}
        return cls(location, {name: value for name, value in signed.items() if name not in _OWN_HEADERS})


def is_redirect(response: BufferedResponse) -> bool:
    """Say whether *response* to a part names a signed URL for it, and the next session."""
    return response.status == _REDIRECTION and "docker-upload-location" in response.headers


def follow_each_other(parts: Sequence[SentPart], size: int) -> bool:
    """Say whether *parts* are the first bytes of a blob of *size* bytes, without a gap."""
    end = 0
    for part in parts:
        if part.offset != end or part.size < 1:
            return False
        end += part.size
    return end <= size


def part_spans(start: int, end: int, part_bytes: int | None) -> list[tuple[int, int]]:
    """Return offset and size of each part of the bytes from *start* to *end* of a blob that ends there."""
    size = part_bytes or min(max(end // _PARTS, _SMALLEST_PART_BYTES), _LARGEST_PART_BYTES)
    size = max(size, -(-end // _MOST_PARTS))
    return [(offset, min(size, end - offset)) for offset in range(start, end, size)]


def etag_of(parts: Sequence[str]) -> str:
    """Return what object stores call the whole of parts, from the MD5 of each in hexadecimal."""
    joined = b"".join(bytes.fromhex(part) for part in parts)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"
