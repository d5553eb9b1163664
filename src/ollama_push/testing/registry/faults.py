"""Faults by rule: "the third PATCH: reset after 5 MB"."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from ollama_push.testing.server import Hangup, Reset

__all__ = ["AFTER_BODY", "Action", "Fault", "FaultDue", "FaultPlan", "LoseAnswer", "Reply", "Stall"]

AFTER_BODY: Final = -1
"""Value of ``Fault.after_bytes``: act once the whole request was processed."""


@attrs.frozen
class Reply:
    """Send this response instead.

    Attributes:
        status: Such as 503.
        headers: Such as ``{"Retry-After": "1"}``.
        body: Sent as it is.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""


@attrs.frozen
class LoseAnswer:
    """Process the request to its end, then close the connection without a response."""


@attrs.frozen
class Stall:
    """Wait for so many seconds, or until the registry stops; then continue."""

    seconds: float


Action = Reset | Hangup | Reply | LoseAnswer | Stall


@attrs.frozen
class Fault:
    """One rule. Requests are counted as they arrive, before authorization is looked at.

    Attributes:
        method: Upper case.
        path: Regular expression searched in the path with its query; empty for every path.
        nth: The first matching request that is hit, from 1.
        times: How many in a row are hit; ``None`` for all that follow.
        after_bytes: How much of the body is read and stored first; a shorter body is not hit. ``None`` acts
            before anything is read, ``AFTER_BODY`` once the request was processed, as ``LoseAnswer`` always
            does.
        action: What happens.
    """

    method: str
    path: str = ""
    nth: int = 1
    times: int | None = 1
    after_bytes: int | None = None
    action: Action = attrs.field(factory=Reset, kw_only=True)

    @property
    def is_first(self) -> bool:
        """Whether it acts before the request is looked at."""
        return self.after_bytes is None and not isinstance(self.action, LoseAnswer)

    @property
    def is_last(self) -> bool:
        """Whether it acts once the request was processed."""
        return self.after_bytes == AFTER_BODY or isinstance(self.action, LoseAnswer)


@attrs.define(eq=False, slots=False)
class FaultDue(Exception):
    """As much of the body was read as the fault lets through; *action* is what happens now."""

    action: Action


class FaultPlan:
    """Counts requests and says which fault hits. Safe between threads.

    Args:
        faults: Of several that hit one request, the first acts; all of them count it.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._rules = [_Rule(fault) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Add a rule; it counts from now on."""
        with self._lock:
            self._rules.append(_Rule(fault))

    def due(self, method: str, path: str) -> Fault | None:
        """Count a request and return the fault that hits it."""
        with self._lock:
            hits = [rule.fault for rule in self._rules if rule.counts(method, path)]
        return hits[0] if hits else None


@attrs.define
class _Rule:
    fault: Fault
    seen: int = 0

    def counts(self, method: str, path: str) -> bool:
        if method != self.fault.method or re.search(self.fault.path, path) is None:
            return False
        self.seen += 1
        return (
            self.fault.nth <= self.seen < self.fault.nth + (math.inf if self.fault.times is None else self.fault.times)
        )
