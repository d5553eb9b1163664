"""How much of a blob goes into one request.

On distribution 2.8 a session survives only between parts, so an interrupted push waits for the end of its part:
parts are cut to what moves in a few seconds. Fewer, larger parts are faster: registries flush each to disk.

Source: distribution-spec v1.1.1, "Pushing a blob in chunks" (``OCI-Chunk-Min-Length``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from ollama_push.core.registry.knowledge import LessonBook
from ollama_push.core.retry import TRANSIENT_STATUSES

__all__ = [
    "FIRST_PART_BYTES",
    "SMALLEST_PART_BYTES",
    "USUAL_MINIMUM_BYTES",
    "WHOLE",
    "WHOLE_UP_TO_BYTES",
    "PartBytes",
    "PartSizes",
]

WHOLE: Final = "whole"
"""The size of the one part that each blob is to be sent in."""

PartBytes = int | Literal["whole"] | None
"""Bytes of every part; ``WHOLE`` for a blob in one request, ``None`` to adapt."""

_MIB: Final = 1024 * 1024

FIRST_PART_BYTES: Final = 32 * _MIB
"""Size of a part while the speed is unknown."""

USUAL_MINIMUM_BYTES: Final = 5 * _MIB
"""No part but the last is smaller while nobody says otherwise: object stores refuse less at the commit (ECR).

Said otherwise is: by who fixes another size, by a refusal (413), and by a gateway that refuses every part of this size.
"""

SMALLEST_PART_BYTES: Final = 256 * 1024
"""A registry that calls a part of this size too large is not tried with smaller ones."""

WHOLE_UP_TO_BYTES: Final = _MIB
"""A blob up to this size is sent in one request: there is nothing to resume. What breaks that is not its size."""

_LARGEST_PART_BYTES: Final = 1024 * _MIB
_SECONDS_A_PART: Final = 4.0

_LIMITS: Final[Mapping[str, int]] = {
    # 4 MiB a PATCH, 416 on more: ocx#237, kitops
    "ghcr.io": 4 * _MIB
}
# No login, no such session, too large, no room. 403 is none of them: firewalls say it of a PATCH.
_NO_MATTER_OF_PARTS: Final = frozenset({401, 404, 410, 413, 507})
_MATTER_OF_SESSION: Final = frozenset({400, 409, 416})
_WHOLE_ONLY: Final = (
    # No chunked uploads: kitops
    "gcr.io",
    "pkg.dev",
)


class PartSizes:
    """Decides part sizes for one push; adapts to what the registry accepts, and how fast.

    Args:
        host: The registry, for limits that are known beforehand.
        fixed: Size to use for every part.
        lessons: What the registry has taught earlier pushes; what it teaches this one is added.

    Attributes:
        lessons: Of the registry.
    """

    def __init__(self, host: str = "", fixed: PartBytes = None, lessons: LessonBook | None = None) -> None:
        self.lessons: LessonBook = LessonBook() if lessons is None else lessons
        known = self.lessons.known
        self._fixed = None if fixed == WHOLE else fixed
        name = host.partition(":")[0].lower()
        self._limit = min(_LIMITS.get(name, _LARGEST_PART_BYTES), known.largest_part_bytes or _LARGEST_PART_BYTES)
        self._minimum = 0
        self._next = FIRST_PART_BYTES
        self._parts_accepted = False
        self._largest_taken = 0
        # The smallest part that broke while no such part was taken since.
        self._broken: int | None = None
        self._refusals = 0
        # What parts are limited to after a gateway broke two; a lesson once it takes one of that size.
        self._new_limit: int | None = None
        self._whole_anyway = fixed == WHOLE or any(name == host or name.endswith(f".{host}") for host in _WHOLE_ONLY)
        self._whole_before = known.whole_only

    @property
    def whole_only(self) -> bool:
        """Whether every blob goes into one request, whatever its size."""
        return self._whole_anyway or self.lessons.known.whole_only

    def fits_whole(self, size: int) -> bool:
        """Return whether a blob of *size* bytes goes into one request, which also ends its upload."""
        limit = self._limit if self._fixed is None else min(self._limit, self._fixed)
        return self.whole_only or size <= min(WHOLE_UP_TO_BYTES, limit)

    def is_last_part(self, left: int) -> bool:
        """Return whether *left* bytes go into one part, and that one into the request that ends the upload."""
        return not self.lessons.known.last_part_apart and self.next_size(left) == left

    def refuse_last_part(self) -> None:
        """Note that the registry accepts no part in the request that ends an upload."""
        self.lessons.learn(last_part_apart=True)

    def may_go_whole(self, status: int) -> bool:
        """Note that the first part of a blob was refused; return whether the blob is to be sent whole instead.

        Not when this registry has accepted parts before, or when *status* says that this is no matter of parts. A
        status that may be about the session alone must be seen twice.
        """
        if self._parts_accepted or self.whole_only or status in _NO_MATTER_OF_PARTS or status in TRANSIENT_STATUSES:
            return False
        self._refusals += 1
        return self._refusals > 1 or status not in _MATTER_OF_SESSION

    def refuse_parts(self) -> None:
        """Note that the registry accepts blobs only whole."""
        self._whole_before = False
        self.lessons.learn(whole_only=True)

    def require_at_least(self, size: int) -> None:
        """Note that the registry wants parts of at least *size* bytes, the last one excepted."""
        self._minimum = max(self._minimum, size)

    def next_size(self, left: int) -> int:
        """Return the size of the next part when *left* bytes are to be sent."""
        wanted = self._next if self._fixed is None else self._fixed
        return min(left, max(min(wanted, self._limit), self._minimum))

    def took(self, size: int, seconds: float) -> None:
        """Note how long a part took."""
        self._parts_accepted = True
        self.took_last(size)
        if size >= SMALLEST_PART_BYTES:
            speed = size / max(seconds, 0.001)
            self._next = round(min(max(speed * _SECONDS_A_PART, USUAL_MINIMUM_BYTES), _LARGEST_PART_BYTES))

    def took_last(self, size: int) -> None:
        """Note that *size* bytes were taken in the request that ended an upload."""
        self._largest_taken = max(self._largest_taken, size)
        if self._broken is not None and size >= self._broken:
            self._broken = None
        if self._new_limit is not None and size >= self._new_limit:
            self.lessons.learn(largest_part_bytes=self._new_limit)
            self._new_limit = None

    def broke(self, size: int, *, refused: bool) -> None:
        """Note that a part broke, perhaps because it took too long or was too large for a proxy.

        The next one is smaller. When another one breaks before one of that size was taken, all that follow are.

        Args:
            size: Bytes of the part.
            refused: Whether a gateway said so by a status. One that has never taken as much may have a limit below what
                object stores want (Caddy's body limit: 502), and gets less than that.
        """
        again = self._broken is not None
        self._broken = size if self._broken is None else min(self._broken, size)
        takes_less = min(self._limit, self._fixed or self._limit) < USUAL_MINIMUM_BYTES
        may_have_a_limit = again and refused and self._largest_taken < size <= USUAL_MINIMUM_BYTES
        floor = WHOLE_UP_TO_BYTES if takes_less or may_have_a_limit else USUAL_MINIMUM_BYTES
        smaller = max(size // 4, floor, self._minimum)
        if smaller < size:
            self._next = min(self._next, smaller)
            if again:
                self._limit = min(self._limit, smaller)
            if again and refused:
                self._new_limit = self._limit

    def too_large(self, size: int) -> bool:
        """Note that the registry did not accept *size* bytes at once; return whether less can be tried."""
        if self._whole_before and not self._whole_anyway:
            # It refused the parts of an earlier push, which is no reason to give up now.
            self._whole_before = False
            self.lessons.learn(whole_only=False)
        if self.whole_only or size <= max(SMALLEST_PART_BYTES, self._minimum):
            return False
        self._limit = max(min(self._limit, size // 2), SMALLEST_PART_BYTES)
        self.lessons.learn(largest_part_bytes=self._limit)
        return True
