"""Being a good guest of a registry: no faster than allowed, no more at a time than it bears, and quiet while it is ill.

Pure: clocks and random numbers are arguments, and whoever asks does the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["CircuitBreaker", "ConcurrencyLimit", "TokenBucket"]

_BURST_SECONDS: Final = 0.1
_SETTLE_SECONDS: Final = 1.0
"""Refusals that come together are one: they answer requests that were sent before the limit fell."""
_FAILURES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0


class TokenBucket:
    """Spreads bytes over time, in the order in which they are announced.

    Args:
        bytes_per_second: The most on average.
        clock: Monotonic seconds.
    """

    def __init__(self, bytes_per_second: float, clock: Callable[[], float]) -> None:
        self.bytes_per_second: float = bytes_per_second
        self._clock = clock
        self._free_at = clock()

    @property
    def piece_bytes(self) -> int:
        """How many bytes are best taken at a time."""
        return max(1024, int(self.bytes_per_second * _BURST_SECONDS))

    def take(self, count: int) -> float:
        """Announce *count* bytes; return the seconds to wait before they are sent."""
        now = self._clock()
        # Time in which nobody sent is not saved up, but for a moment.
        begin = max(self._free_at, now - _BURST_SECONDS)
        self._free_at = begin + count / self.bytes_per_second
        return max(0.0, begin - now)


@attrs.define(eq=False)
class ConcurrencyLimit:
    """How many requests a registry bears at a time: one more for each round without a refusal, half after a refusal.

    Source: additive increase, multiplicative decrease, RFC 5681, 3.1.

    Args:
        most: The limit to begin with, and never to exceed.
        clock: Monotonic seconds.
    """

    most: int
    _clock: Callable[[], float]
    _limit: float = attrs.field(init=False)
    _running: int = attrs.field(default=0, init=False)
    _settled_at: float = attrs.field(default=-_SETTLE_SECONDS, init=False)

    def __attrs_post_init__(self) -> None:
        self._limit = float(self.most)
        self._settled_at = self._clock()

    @property
    def limit(self) -> int:
        """How many requests may run now, at least one."""
        return int(self._limit)

    @property
    def running(self) -> int:
        """How many requests run."""
        return self._running

    def begin(self) -> bool:
        """Begin a request, if one more may run."""
        if self._running >= self.limit:
            return False
        self._running += 1
        return True

    def end(self, *, refused: bool) -> None:
        """End a request; *refused* says that the registry has too many (429, 503)."""
        self._running -= 1
        if not refused:
            self._limit = min(float(self.most), self._limit + 1.0 / self._limit)
        elif self._clock() >= self._settled_at:
            # Half of what ran: a limit that nobody had reached says nothing (RFC 5681, 3.1, FlightSize).
            self._limit = max(1.0, min(self._limit, self._running + 1.0) / 2)
            self._settled_at = self._clock() + _SETTLE_SECONDS


@attrs.define(eq=False)
class CircuitBreaker:
    """Lets nobody ask a registry that keeps failing, but for one at a time and now and then.

    Closed at first. After five failures in a row it is open for a pause, which doubles each time, up to a minute, and
    is shortened at random, so that many machines do not come back together. Then one request may try: its success
    closes the breaker.

    Args:
        clock: Monotonic seconds.
        random: Random numbers, 0.0 to 1.0.
    """

    _clock: Callable[[], float]
    _random: Callable[[], float]
    _failures: int = attrs.field(default=0, init=False)
    _pauses: int = attrs.field(default=0, init=False)
    _open_until: float | None = attrs.field(default=None, init=False)
    _tried: bool = attrs.field(default=False, init=False)

    @property
    def is_open(self) -> bool:
        """Whether requests wait."""
        return self._open_until is not None

    def wait(self) -> float:
        """Return the seconds to wait before asking again whether to send; 0.0 to send now."""
        if self._open_until is None:
            return 0.0
        left = self._open_until - self._clock()
        if left > 0:
            return left
        if self._tried:
            return _FIRST_PAUSE_SECONDS
        self._tried = True
        return 0.0

    def succeeded(self) -> None:
        """Take note of a response that is no failure."""
        self._failures = self._pauses = 0
        self._open_until = None
        self._tried = False

    def failed(self) -> None:
        """Take note of a failure: of no response, or of a server's error."""
        self._failures += 1
        if self._open_until is not None and not self._tried:
            return  # of a request that was sent before
        if self._failures >= _FAILURES or self._tried:
            longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0**self._pauses)
            self._pauses += 1
            self._open_until = self._clock() + longest * (1.0 + self._random()) / 2
            self._tried = False

    def abandoned(self) -> None:
        """Take note that a request was not sent to its end: another one may try."""
        self._tried = False
