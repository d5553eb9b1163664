"""Registries that keep failing and are left alone for a while: what is known of one, and the port that keeps it.

The knowledge is a value, and everything that happens to it is a step from one value to the next. So it is the same
whether one process keeps it or many machines share it: whoever keeps it applies one step at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import attrs

__all__ = [
    "TRY_LEASE_SECONDS",
    "WELL",
    "Illness",
    "IllnessBoard",
    "IllnessStep",
    "KeepsIllness",
    "Sighting",
    "board_of",
    "fail_try",
    "fall_ill",
    "get_well",
    "leave_try",
    "look",
    "renew_try",
    "take_try",
]

TRY_LEASE_SECONDS: Final = 5.0
"""How long the turn to try outlives a process that died; one that lives renews it."""
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_MOST_DOUBLINGS: Final = 30


@attrs.frozen
class Illness:
    """What is known of one registry. Times are seconds on the clock of whoever keeps it.

    Attributes:
        pauses: For how many pauses in a row it was left alone; 0 for one that is well.
        until: When the last of them ends.
        trier: Who may try after it; empty for nobody.
        tries_until: When that turn ends by itself.
    """

    pauses: int = 0
    until: float = 0.0
    trier: str = ""
    tries_until: float = 0.0

    @property
    def is_ill(self) -> bool:
        """Whether requests wait."""
        return self.pauses > 0

    def is_tried(self, now: float) -> bool:
        """Whether somebody has the turn to try."""
        return bool(self.trier) and now < self.tries_until

    def moved(self, seconds: float) -> Illness:
        """Return the same on a clock that is so many seconds ahead."""
        return attrs.evolve(self, until=self.until + seconds, tries_until=self.tries_until + seconds)


WELL: Final = Illness()
"""Nothing is known against it."""

IllnessStep = Callable[[Illness, float], Illness]
"""Returns what is known next, from what is known and the time. It may be called several times for one step."""


def _paused(illness: Illness, now: float, random: float) -> Illness:
    """Return the next pause: twice as long, up to a minute, and shortened at random, so that machines spread."""
    doubled = _FIRST_PAUSE_SECONDS * 2.0 ** min(illness.pauses, _MOST_DOUBLINGS)
    longest = min(_LONGEST_PAUSE_SECONDS, doubled)
    return Illness(illness.pauses + 1, now + longest * (1.0 + random) / 2)


def look(illness: Illness, _now: float) -> Illness:
    """Change nothing (a :data:`IllnessStep`)."""
    return illness


def get_well(_illness: Illness, _now: float) -> Illness:
    """Take note that it responds (a :data:`IllnessStep`)."""
    return WELL


def fall_ill(random: float) -> IllnessStep:
    """Return the step of whoever finds it ill; what was sent before a pause does not prolong it."""
    return lambda illness, now: illness if illness.is_ill else _paused(illness, now, random)


def take_try(who: str) -> IllnessStep:
    """Return the step by which *who* takes the turn to try, after the pause, if nobody else has it."""

    def step(illness: Illness, now: float) -> Illness:
        is_free = illness.is_ill and now >= illness.until and (illness.trier == who or not illness.is_tried(now))
        return attrs.evolve(illness, trier=who, tries_until=now + TRY_LEASE_SECONDS) if is_free else illness

    return step


def renew_try(who: str) -> IllnessStep:
    """Return the step by which *who* keeps the turn for longer, if it has it."""

    def step(illness: Illness, now: float) -> Illness:
        is_own = illness.trier == who
        return attrs.evolve(illness, tries_until=now + TRY_LEASE_SECONDS) if is_own else illness

    return step


def fail_try(who: str, random: float) -> IllnessStep:
    """Return the step of *who* has tried in vain: the next pause begins."""
    return lambda illness, now: _paused(illness, now, random) if illness.trier == who else illness


def leave_try(who: str) -> IllnessStep:
    """Return the step by which *who* leaves the turn to another one."""
    return lambda illness, _now: attrs.evolve(illness, trier="", tries_until=0.0) if illness.trier == who else illness


@attrs.frozen
class Sighting:
    """What is known behind a step.

    Attributes:
        illness: It.
        now: The time at that moment, on the clock of *illness*.
    """

    illness: Illness
    now: float


class IllnessBoard(Protocol):
    """Keeps what is known of registries, for all who use the same place.

    Several threads and processes use it at the same time. The promises, which :mod:`ollama_push.testing.contract`
    checks:

    I1  What one process changes, the next one sees, with the times that are left.
    I2  Registries do not mix.
    I3  Steps are applied one after the other: of many that take the turn to try, one gets it.
    I4  A step that changes nothing leaves everything as it is.
    I5  A place that cannot be used raises nothing, and returns nothing.
    I6  Names of registries are not shown by the board, or logged.
    """

    def change(self, registry: str, step: IllnessStep, /) -> Sighting | None:
        """Apply *step* to what is known of *registry*; return what is known then, ``None`` when the place fails.

        It may wait for another machine; none of its failures may fail a push.
        """
        ...


@runtime_checkable
class KeepsIllness(Protocol):
    """A resume store that has a place for what many machines know of registries, too."""

    @property
    def illness(self) -> IllnessBoard:
        """The place."""
        ...


def board_of(store: object) -> IllnessBoard | None:
    """Return the place that a resume *store* has and that machines share; ``None`` where it has none."""
    return store.illness if isinstance(store, KeepsIllness) else None
