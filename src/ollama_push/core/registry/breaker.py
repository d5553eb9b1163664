"""The circuit breaker of a registry that keeps failing: its state, the steps of it, and the port that keeps it.

Closed, requests go. Open, they wait for a pause. After that, half-open, one request at a time is a probe: its success
closes the breaker. The state is a value, and everything that happens to it is a step from one value to the next. So it
is the same whether one process keeps it or many machines share it: whoever keeps it applies one step at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import attrs

__all__ = [
    "CLOSED",
    "PROBE_LEASE_SECONDS",
    "BreakerState",
    "BreakerStep",
    "BreakerStore",
    "KeepsBreakers",
    "Sighting",
    "breakers_of",
    "close_breaker",
    "fail_probe",
    "leave_probe",
    "look",
    "open_breaker",
    "renew_probe",
    "take_probe",
]

PROBE_LEASE_SECONDS: Final = 5.0
"""How long a probe outlives a process that died; one that lives renews it."""
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_MOST_DOUBLINGS: Final = 30


@attrs.frozen
class BreakerState:
    """The state of the breaker of one registry. Times are seconds on the clock of whoever keeps it.

    Attributes:
        pauses: For how many pauses in a row it was left alone; 0 while the breaker is closed.
        until: When the last of them ends.
        prober: Who may send a probe after it; empty for nobody.
        probed_until: When that right ends by itself.
    """

    pauses: int = 0
    until: float = 0.0
    prober: str = ""
    probed_until: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests wait."""
        return self.pauses > 0

    def is_probed(self, now: float) -> bool:
        """Whether somebody may send a probe, and nobody else."""
        return bool(self.prober) and now < self.probed_until

    def moved(self, seconds: float) -> BreakerState:
        """Return the same on a clock that is so many seconds ahead."""
        return attrs.evolve(self, until=self.until + seconds, probed_until=self.probed_until + seconds)


CLOSED: Final = BreakerState()
"""Of a registry that nothing is known against."""

BreakerStep = Callable[[BreakerState, float], BreakerState]
"""Returns the next state, from the state and the time. It may be called several times for one step."""


def _paused(state: BreakerState, now: float, random: float) -> BreakerState:
    """Return the next pause: twice as long, up to a minute, and shortened at random, so that machines spread."""
    doubled = _FIRST_PAUSE_SECONDS * 2.0 ** min(state.pauses, _MOST_DOUBLINGS)
    longest = min(_LONGEST_PAUSE_SECONDS, doubled)
    return BreakerState(state.pauses + 1, now + longest * (1.0 + random) / 2)


def look(state: BreakerState, _now: float) -> BreakerState:
    """Change nothing (a :data:`BreakerStep`)."""
    return state


def close_breaker(_state: BreakerState, _now: float) -> BreakerState:
    """Take note that it responds (a :data:`BreakerStep`)."""
    return CLOSED


def open_breaker(random: float) -> BreakerStep:
    """Return the step of whoever finds that it keeps failing; what was sent before a pause does not prolong it."""
    return lambda state, now: state if state.is_open else _paused(state, now, random)


def take_probe(who: str) -> BreakerStep:
    """Return the step by which *who* takes the probe, after the pause, if nobody else has it."""

    def step(state: BreakerState, now: float) -> BreakerState:
        is_free = state.is_open and now >= state.until and (state.prober == who or not state.is_probed(now))
        return attrs.evolve(state, prober=who, probed_until=now + PROBE_LEASE_SECONDS) if is_free else state

    return step


def renew_probe(who: str) -> BreakerStep:
    """Return the step by which *who* keeps the probe for longer, if it has it."""

    def step(state: BreakerState, now: float) -> BreakerState:
        is_own = state.prober == who
        return attrs.evolve(state, probed_until=now + PROBE_LEASE_SECONDS) if is_own else state

    return step


def fail_probe(who: str, random: float) -> BreakerStep:
    """Return the step of *who* has sent a probe in vain: the next pause begins."""
    return lambda state, now: _paused(state, now, random) if state.prober == who else state


def leave_probe(who: str) -> BreakerStep:
    """Return the step by which *who* leaves the probe to another one."""
    return lambda state, _now: attrs.evolve(state, prober="", probed_until=0.0) if state.prober == who else state


@attrs.frozen
class Sighting:
    """The state behind a step.

    Attributes:
        state: The state.
        now: The time at that moment, on the clock of *state*.
    """

    state: BreakerState
    now: float


class BreakerStore(Protocol):
    """Keeps the breakers of registries, for all who use the same place.

    Several threads and processes use it at the same time. The promises, which :mod:`ollama_push.testing.contract`
    checks:

    B1  What one process changes, the next one sees, with the times that are left.
    B2  Registries do not mix.
    B3  Steps are applied one after the other: of many that take the probe, one gets it.
    B4  A step that changes nothing leaves everything as it is.
    B5  A place that cannot be used raises nothing, and returns nothing.
    B6  Names of registries are not shown by the store, or logged.
    """

    def change(self, registry: str, step: BreakerStep, /) -> Sighting | None:
        """Apply *step* to the breaker of *registry*; return its state then, ``None`` when the place fails.

        It may wait for another machine; none of its failures may fail a push.
        """
        ...


@runtime_checkable
class KeepsBreakers(Protocol):
    """A resume store that has a place for the breakers that many machines share, too."""

    @property
    def breakers(self) -> BreakerStore:
        """The place."""
        ...


def breakers_of(store: object) -> BreakerStore | None:
    """Return the place that a resume *store* has and that machines share; ``None`` where it has none."""
    return store.breakers if isinstance(store, KeepsBreakers) else None
