"""How fast a registry lets one push ask, once it has said that it was asked too fast (429)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["Pace"]

_MOST_GAPS: Final = 50.0
"""Of the shortest gap, the longest is so many."""
_SPEEDING_UP: Final = 0.9
"""A request that is let through makes the gap so much shorter."""


@attrs.define
class Pace:
    """One pause for all requests of a push, and a gap between them, which is found by trying.

    A limit that lets two requests a second through, and no more at once, is met by any number of them side by side
    only if they go out one by one, half a second after each other.

    Args:
        clock: Monotonic seconds.
        shortest: The first gap, in seconds; doubled by each pause.
    """

    _clock: Callable[[], float]
    _shortest: float
    _gap: float = attrs.field(default=0.0, init=False)
    _next_at: float = attrs.field(default=-math.inf, init=False)
    _slowed_at: float = attrs.field(default=-math.inf, init=False)

    def wait(self) -> float:
        """Return for how many seconds no request may be sent; ask again after them, as others may have been sent."""
        return max(0.0, self._next_at - self._clock())

    def take_turn(self) -> float:
        """Note that a request is sent now; return the time."""
        now = self._clock()
        self._next_at = max(self._next_at, now + self._gap) if self._gap else self._next_at
        return now

    def let_through(self) -> None:
        """Note that a request was not put off."""
        self._gap *= _SPEEDING_UP

    def put_off(self, sent_at: float, seconds: float) -> None:
        """Note that a request sent at *sent_at* was put off, for *seconds*: nothing is sent before.

        Those that were under way when another was put off tell nothing new of the pace.
        """
        now = self._clock()
        if sent_at >= self._slowed_at:
            self._gap = min(max(2 * self._gap, self._shortest), _MOST_GAPS * self._shortest)
            self._slowed_at = now
        self._next_at = max(self._next_at, now + max(seconds, self._gap))
