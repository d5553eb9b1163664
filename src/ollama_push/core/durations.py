"""Durations that users set: checked in one place, before anything waits by them."""

from __future__ import annotations

import math
from typing import Final

from ollama_push.core.errors import InvalidSetting

__all__ = ["YEAR_SECONDS", "checked_seconds"]

YEAR_SECONDS: Final = 366 * 86400.0
"""The longest limit that every platform's timers take."""


def checked_seconds(setting: str, value: float | None) -> float:
    """Return *value* seconds; ``None`` and anything above a year are ``math.inf``, which is no limit.

    Raises:
        InvalidSetting: It is no number above 0.
    """
    if value is None:
        return math.inf
    # "not >" also catches NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidSetting(setting, value, "expected seconds above 0, or None for no limit")
    return float(value) if value <= YEAR_SECONDS else math.inf
