"""A clock for everything that takes one: time passes when a test says so."""

from __future__ import annotations

import attrs

__all__ = ["Clock"]


@attrs.define
class Clock:
    """Seconds that pass when told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now
