"""Delivers observations to hooks: in order, throttled where a hook asks for it; a hook cannot fail a push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import attrs

from ollama_push.core.events import MAX_LAYERS, LayerProgress, PushEvent
from ollama_push.core.observations import EventSeen, Observation, PushContext
from ollama_push.core.ports import Hook

__all__ = ["HookFailure", "HookSet"]

HookFailure = Callable[[Hook, Exception], None]
"""Called once with a hook that raised and was dropped; it logs, the core does not."""


class HookSet:
    """The hooks of one push.

    A hook that raises is reported, dropped and never called again. A hook with an attribute ``min_interval``
    (seconds) gets the progress of known layers no more often than that. What it missed meanwhile, the newest progress
    of each layer, is delivered together with the next that is due, and before any other observation.

    Args:
        hooks: In the order in which they are told.
        context: Identity of the push.
        report: Told about a hook that raised.
    """

    __slots__ = ("_context", "_held", "_known", "_quiet_until", "_report", "_seats")

    def __init__(self, hooks: Sequence[Hook], context: PushContext, report: HookFailure) -> None:
        self._context = context
        self._report = report
        self._seats = tuple(_Seat(hook, float(getattr(hook, "min_interval", 0.0))) for hook in hooks)
        self._known: set[str] = set()  # digests of layers whose first progress was told
        # Until then no hook is told of progress. What arrives by then is held for all of them, by digest.
        self._quiet_until = 0.0
        self._held: dict[str, tuple[LayerProgress, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._seats)

    def tell(self, seen: Observation) -> None:
        """Tell every hook, and before that what it missed."""
        self._hand_out_held()
        for seat in self._seats:
            self._tell_missed(seat)
            self._call(seat, seen)

    def tell_event(self, event: PushEvent, elapsed: float) -> None:
        """Tell of an event that arrived after *elapsed* seconds; throttled hooks perhaps later."""
        if type(event) is not LayerProgress:
            self.tell(EventSeen(self._context, elapsed, event))
            self._quiet_until = 0.0
            for seat in self._seats:
                seat.due = 0.0
        elif event.digest not in self._known:
            if len(self._known) < MAX_LAYERS:
                self._known.add(event.digest)
            self._tell_progress(event, elapsed, urgent=True)
        elif elapsed < self._quiet_until:
            self._held[event.digest] = event, elapsed
        else:
            self._tell_progress(event, elapsed, urgent=False)

    def _tell_progress(self, event: LayerProgress, elapsed: float, *, urgent: bool) -> None:
        self._hand_out_held()
        seen = None
        for seat in self._seats:
            if not urgent and elapsed < seat.due:
                seat.missed[event.digest] = event, elapsed
                continue
            seat.missed.pop(event.digest, None)
            self._tell_missed(seat)
            seat.due = elapsed + seat.interval
            seen = seen or EventSeen(self._context, elapsed, event)
            self._call(seat, seen)
        self._quiet_until = min((seat.due for seat in self._seats), default=0.0)

    def _hand_out_held(self) -> None:
        for seat in self._seats:
            seat.missed.update(self._held)
        self._held.clear()

    def _tell_missed(self, seat: _Seat) -> None:
        missed, seat.missed = seat.missed, {}
        for event, elapsed in sorted(missed.values(), key=itemgetter(1)):
            self._call(seat, EventSeen(self._context, elapsed, event))

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
    """One hook, when it may be told of progress again, and the newest of each layer that it missed."""

    hook: Hook
    interval: float
    due: float = 0.0
    missed: dict[str, tuple[LayerProgress, float]] = attrs.field(factory=dict)
