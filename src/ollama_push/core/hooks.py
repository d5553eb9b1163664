"""Delivers observations to hooks: in order, throttled where a hook asks for it; a hook cannot fail a push."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from ollama_push.core.events import LayerProgress, PushEvent
from ollama_push.core.observations import EventSeen, Observation, PushContext
from ollama_push.core.ports import Hook

__all__ = ["HookFailure", "HookSet"]

HookFailure = Callable[[Hook, Exception], None]
"""Called once with a hook that raised and was dropped; it logs, the core does not."""


class HookSet:
    """The hooks of one push.

    A hook that raises is reported, dropped and never called again. A hook with an attribute ``min_interval``
    (seconds) gets a layer's progress no more often than that. The newest progress it missed is delivered before
    any other observation and before progress of another layer.

    Args:
        hooks: In the order in which they are told.
        context: Identity of the push.
        report: Told about a hook that raised.
    """

    __slots__ = ("_context", "_report", "_seats")

    def __init__(self, hooks: Sequence[Hook], context: PushContext, report: HookFailure) -> None:
        self._context = context
        self._report = report
        self._seats = tuple(_Seat(hook, float(getattr(hook, "min_interval", 0.0))) for hook in hooks)

    def __bool__(self) -> bool:
        return bool(self._seats)

    def tell(self, seen: Observation) -> None:
        """Tell every hook, and before that what it missed."""
        for seat in self._seats:
            self._tell_missed(seat)
            self._call(seat, seen)

    def tell_event(self, event: PushEvent, elapsed: float) -> None:
        """Tell of an event that arrived after *elapsed* seconds; throttled hooks perhaps later."""
        digest = event.digest if type(event) is LayerProgress else None
        seen = None
        for seat in self._seats:
            if digest is not None and elapsed < seat.due and digest == seat.digest:
                seat.missed, seat.missed_at = event, elapsed
                continue
            if digest is None or digest != seat.digest:
                self._tell_missed(seat)
            seat.missed = None
            seat.due, seat.digest = elapsed + seat.interval, digest
            seen = seen or EventSeen(self._context, elapsed, event)
            self._call(seat, seen)

    def _tell_missed(self, seat: _Seat) -> None:
        if seat.missed is not None:
            missed, seat.missed = seat.missed, None
            self._call(seat, EventSeen(self._context, seat.missed_at, missed))

    def _call(self, seat: _Seat, seen: Observation) -> None:
        if seat not in self._seats:
            return  # it raised during this delivery
        try:
            seat.hook(seen)
        except Exception as exc:  # noqa: BLE001 - a hook may raise anything and must not matter
            self._seats = tuple(kept for kept in self._seats if kept is not seat)
            self._report(seat.hook, exc)


@attrs.define(eq=False)
class _Seat:
    """One hook and what it was last told."""

    hook: Hook
    interval: float
    due: float = 0.0
    digest: str | None = None
    missed: PushEvent | None = None
    missed_at: float = 0.0
