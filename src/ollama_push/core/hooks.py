"""Delivers observations to hooks: in order, throttled where a hook asks for it, never to the push's harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ollama_push.core.events import LayerProgress, PushEvent
from ollama_push.core.observations import EventSeen, Observation, PushContext
from ollama_push.core.ports import Hook

__all__ = ["HookFailure", "HookSet"]

HookFailure = Callable[[Hook, Exception], None]
"""Told once about a hook that raised and was dropped; it logs, the core does not."""


class HookSet:
    """The hooks of one push.

    A hook that raises is reported, dropped and never called again. A hook with an attribute
    ``min_interval`` (seconds) is told of a layer's progress no more often than that; the newest event is
    told late rather than never: before anything else is told, and at every turn to another layer.

    Args:
        hooks: In the order in which they are told.
        context: Identity of the push.
        report: Told about a hook that raised.
    """

    __slots__ = ("_context", "_digest", "_due", "_eager", "_interval", "_pending", "_report", "_throttled")

    def __init__(self, hooks: Sequence[Hook], context: PushContext, report: HookFailure) -> None:
        self._context = context
        self._report = report
        self._eager = tuple(hook for hook in hooks if _interval_of(hook) <= 0)
        self._throttled = tuple(hook for hook in hooks if _interval_of(hook) > 0)
        self._interval = min(map(_interval_of, self._throttled), default=0.0)
        self._due = 0.0
        self._digest: str | None = None
        self._pending: tuple[PushEvent, float] | None = None

    def __bool__(self) -> bool:
        return bool(self._eager or self._throttled)

    def tell(self, seen: Observation) -> None:
        """Tell every hook, what was held back first."""
        self._flush()
        self._tell(self._eager, seen)
        self._tell(self._throttled, seen)

    def tell_event(self, event: PushEvent, elapsed: float) -> None:
        """Tell of an event that arrived after *elapsed* seconds; throttled hooks perhaps later."""
        if self._eager:
            self._tell(self._eager, EventSeen(self._context, elapsed, event))
        if not self._throttled:
            return
        if elapsed < self._due and type(event) is LayerProgress and event.digest == self._digest:
            self._pending = (event, elapsed)
            return
        self._flush()
        self._due = elapsed + self._interval
        self._digest = event.digest if type(event) is LayerProgress else None
        self._tell(self._throttled, EventSeen(self._context, elapsed, event))

    def _flush(self) -> None:
        if self._pending is not None:
            (event, elapsed), self._pending = self._pending, None
            self._tell(self._throttled, EventSeen(self._context, elapsed, event))

    def _tell(self, hooks: Sequence[Hook], seen: Observation) -> None:
        for hook in hooks:
            try:
                hook(seen)
            except Exception as exc:  # noqa: BLE001 - a hook may raise anything and must not matter
                self._eager = tuple(kept for kept in self._eager if kept is not hook)
                self._throttled = tuple(kept for kept in self._throttled if kept is not hook)
                self._report(hook, exc)


def _interval_of(hook: Hook) -> float:
    return float(getattr(hook, "min_interval", 0.0))
