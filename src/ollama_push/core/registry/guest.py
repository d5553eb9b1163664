"""Being a good guest of a registry: no faster than allowed, and quiet while it is ill, but not for ever.

Pure: clocks and random numbers are arguments, and whoever asks does the waiting.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import attrs

from ollama_push.core.errors import ConnectFailed, TransportError
from ollama_push.core.registry.breaker import (
    BreakerState,
    BreakerStep,
    close_breaker,
    fail_probe,
    leave_probe,
    open_breaker,
)
from ollama_push.core.responses import BufferedResponse, NotAsked, is_unread
from ollama_push.core.retry import TRANSIENT_STATUSES

__all__ = ["ASK_AGAIN_SECONDS", "CircuitBreaker", "Outcome", "Patience", "TokenBucket", "health_told_by"]

ASK_AGAIN_SECONDS: Final = 1.0
"""How often who waits for the try of another process looks what came of it."""
_BURST_SECONDS: Final = 0.1
_FAILURES: Final = 5
_ILL: Final = TRANSIENT_STATUSES & frozenset(range(500, 600)) - {503}
"""A 503 says that there is too much to do, as a 429 does."""


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


class Outcome(enum.Enum):
    """What a request says of the health of its registry."""

    WELL = "well"
    FAILED = "failed"
    NOTHING = "nothing"
    """It was not sent to its end, or what it met says nothing."""


def health_told_by(result: object, *, tries: bool = False) -> Outcome:
    """Return what *result*, a response or an error, says of the health of a registry.

    One that was never reached fails a push at once, one that is busy says how long it is, and one that closes
    connections in between is well. For a request that *tries* whether it is well again, to be reached is part of it.
    """
    if isinstance(result, BufferedResponse):
        return Outcome.FAILED if result.status in _ILL else Outcome.WELL
    if not isinstance(result, TransportError) or isinstance(result, NotAsked) or is_unread(result):
        return Outcome.NOTHING
    return Outcome.NOTHING if isinstance(result, ConnectFailed) and not tries else Outcome.FAILED


@attrs.define(eq=False)
class CircuitBreaker:
    """Lets nobody ask a registry that keeps failing, but for one at a time and now and then.

    This is the part of one process: it counts failures, and says which steps are to be taken on what is known. After
    five failures in a row the registry is left alone for a pause, which doubles each time. Then one request may try,
    and its success closes the breaker.

    Args:
        who: Name of the process, among those who share what is known.
        random: Random numbers, 0.0 to 1.0.
    """

    who: str
    _random: Callable[[], float]
    _failures: int = attrs.field(default=0, init=False)

    def seconds_left(self, state: BreakerState, now: float) -> float:
        """Return for how long nobody may send, 0.0 where that is over: then one may try who has taken the turn."""
        if not state.is_open:
            return 0.0
        if state.until > now:
            return state.until - now
        return ASK_AGAIN_SECONDS if state.is_probed(now) and state.prober != self.who else 0.0

    def ended(self, outcome: Outcome, state: BreakerState, *, tries: bool) -> BreakerStep | None:
        """Return the step that follows from the end of a request; ``None`` for none.

        Args:
            outcome: What it says.
            state: What is known.
            tries: Whether it had the turn to try.
        """
        if outcome is Outcome.WELL:
            self._failures = 0
            return close_breaker if state.is_open else None
        if tries:
            is_failure = outcome is Outcome.FAILED
            return fail_probe(self.who, self._random()) if is_failure else leave_probe(self.who)
        if outcome is Outcome.NOTHING or state.is_open:  # it was sent before
            return None
        self._failures += 1
        if self._failures < _FAILURES:
            return None
        self._failures = 0
        return open_breaker(self._random())


@attrs.define(eq=False)
class Patience:
    """How long one push waits for ill registries: all its requests together, those side by side once.

    Args:
        most: Seconds.
        clock: Monotonic seconds.
    """

    most: float
    _clock: Callable[[], float]
    _spent: float = attrs.field(default=0.0, init=False)
    _waiting: int = attrs.field(default=0, init=False)
    _since: float = attrs.field(default=0.0, init=False)

    @property
    def is_waiting(self) -> bool:
        """Whether a request waits."""
        return self._waiting > 0

    @property
    def left(self) -> float:
        """Seconds; 0.0 when its verdict is due."""
        waiting = self._clock() - self._since if self._waiting else 0.0
        return max(0.0, self.most - self._spent - waiting)

    def begin(self) -> None:
        """Take note that a request waits."""
        if not self._waiting:
            self._since = self._clock()
        self._waiting += 1

    def end(self) -> None:
        """Take note that it waits no longer."""
        self._waiting -= 1
        if not self._waiting:
            self._spent += self._clock() - self._since
