"""What the server said: one class per kind of line that is news.

Source: ollama ``api/types.go`` ``ProgressResponse`` and ``server/images.go`` ``PushModel`` at fb3076099.
"""

from __future__ import annotations

from typing import Final

import attrs

from ollama_push.core.pullability import Pullability

__all__ = [
    "MAX_LAYERS",
    "SUCCESS_STATUS",
    "TICK_SECONDS",
    "LayerCounter",
    "LayerProgress",
    "PushEvent",
    "PushPlanned",
    "PushSucceeded",
    "StatusChanged",
]

SUCCESS_STATUS = "success"
"""The one status text that ends a push; all others are opaque (three generations of them exist)."""

MAX_LAYERS: Final = 10_000
"""Layers that are counted in one push; of more, events are passed on and nothing is remembered."""

TICK_SECONDS: Final = 0.06
"""How often a server reports the progress of a layer, moved or not (ollama ``server/upload.go`` ``Wait``)."""


@attrs.frozen
class StatusChanged:
    """A phase of the push, such as ``"retrieving manifest"`` or ``"pushing manifest"``.

    Attributes:
        status: The server's text; show it, do not match on it.
    """

    status: str


@attrs.frozen
class LayerProgress:
    """One layer's upload counter, as the server sees it.

    ``completed`` can go *down* (the server takes bytes back when it retries a part), can exceed
    ``total`` for a moment, and can pass 2**53: exporters need a gauge, not a counter.

    Attributes:
        digest: ``"sha256:"`` plus 64 hex digits, or the literal ``"sha256:model"``: the sum over all
            layers of a model that is stored as tensors.
        total: Size of the layer in bytes, never below 0 (``wire`` sees to it: a validator would cost
            more than decoding); 0 when the server leaves it out.
        completed: Bytes done so far, never below 0; 0 when the server leaves it out.
        status: The server's text, such as ``"pushing 49a7f1752a33"``.

    Source: ollama ``server/upload.go`` ``Wait`` and ``Rollback``, ``server/images.go`` (tensors).
    """

    digest: str
    total: int = 0
    completed: int = 0
    status: str = ""

    @property
    def fraction(self) -> float:
        """Share uploaded, 0.0 to 1.0; an empty layer counts as done."""
        return min(1.0, self.completed / self.total) if self.total else 1.0


@attrs.frozen
class PushSucceeded:
    """The terminal line: the registry took the manifest. Nothing follows it.

    Attributes:
        status: As a server says it.
        pullability: Whether a stock ``ollama pull`` gets the model, as the receipt has it; ``None`` where that was not
            looked at. It is not compared: the event is the same, whatever is known beside it.
    """

    status: str = SUCCESS_STATUS
    pullability: Pullability | None = attrs.field(default=None, eq=False)


@attrs.frozen
class PushPlanned:
    """The first event of a push straight to a registry: how large it is, before anything was asked or sent.

    Attributes:
        total_bytes: Sum of the blobs' sizes, each counted once.
        status: As a server would say it.
    """

    total_bytes: int
    status: str = "retrieving manifest"


PushEvent = StatusChanged | LayerProgress | PushSucceeded | PushPlanned


class LayerCounter:
    """What one layer's events add up to in one push, over all of its attempts.

    Args:
        first: The layer's first event.
        planned: Whether a :class:`PushPlanned` came before: then *first* counts what an earlier push had left,
            otherwise what this push has moved so far.

    Attributes:
        total: The layer's size in bytes.
        completed: Bytes done as last reported in the running attempt; ``None`` when it did not report yet.
        was_present: Whether the peer had the whole layer at first sight.
        peak: Most bytes that were ever done, at most the layer's size: what is shown never falls.
        moved_bytes: Bytes that moved in this push: without those that were present, and once when sent again.
    """

    __slots__ = ("_before", "_reached", "_size", "completed", "moved_bytes", "peak", "total", "was_present")

    def __init__(self, first: LayerProgress, *, planned: bool) -> None:
        self.total: int = first.total
        self.completed: int | None = first.completed
        self.was_present: bool = first.total > 0 and first.completed == first.total
        self.peak: int = min(first.completed, first.total)
        self._before = self.peak if planned or self.was_present else 0
        self.moved_bytes: int = self.peak - self._before
        self._size = first.total
        self._reached = self.peak

    def restart(self) -> None:
        """Forget how far the layer was: another attempt begins."""
        self.completed = None

    def receive_event(self, event: LayerProgress) -> bool:
        """Take the layer's next event; return whether more of the layer is done than ever before in this attempt.

        What is done counts up to the size that the layer had at first: a peer can let it grow for ever.
        """
        total, completed = event.total, event.completed
        again = self.completed is None
        self.total, self.completed = total, completed
        self._size = self._size or total
        reached = completed if completed < self._size else self._size  # noqa: FURB136 - for every event, and quicker
        advanced = not again and reached > self._reached
        if again or advanced:
            self._reached = reached
        done = completed if completed < total else total  # noqa: FURB136 - as above
        if done > self.peak:
            self.peak = done
            if not self.was_present:
                self.moved_bytes = done - self._before
        return advanced
