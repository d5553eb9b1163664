"""Events to numbers a person can read: how far, how fast, how much time is left.

Pure: the time is an argument. Everything that shows progress reads these numbers and computes none.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Final

import attrs

from ollama_push.core.events import MAX_LAYERS, LayerCounter, LayerProgress, PushEvent, PushPlanned, PushSucceeded

__all__ = ["LayerSnapshot", "ProgressSnapshot", "PushProgress"]

_MEMORY_SECONDS: Final = 8.0
"""Time constant of the speed's moving average: a stall shows within seconds, a hiccup does not."""

_MIN_SAMPLE_SECONDS: Final = 0.5
"""Speeds are sampled no closer than this: the server ticks every 60 ms and sends in bursts."""

_CROWD: Final = 1000

_MIN_SPEED: Final = 1.0
"""Bytes per second below which an ETA would be fiction."""


@attrs.frozen
class LayerSnapshot:
    """One layer.

    Attributes:
        digest: As in ``LayerProgress``.
        total_bytes: Its size.
        completed_bytes: What the peer reports now; may be less than a moment ago.
        was_present: Whether the peer had it from the start, as far as events tell.
    """

    digest: str
    total_bytes: int
    completed_bytes: int
    was_present: bool

    @property
    def fraction(self) -> float:
        """Share done, 0.0 to 1.0; an empty layer counts as done."""
        return min(1.0, self.completed_bytes / self.total_bytes) if self.total_bytes else 1.0


@attrs.frozen
class ProgressSnapshot:
    """The whole push at one moment.

    Attributes:
        model: Whose push this is; empty when not given.
        status: The last status text; empty before the first event.
        total_bytes: Size of the whole push; ``None`` while unknown.
        completed_bytes: Bytes done over all layers; never goes back within a push.
        fraction: ``completed_bytes`` of ``total_bytes``, 0.0 to 1.0, never goes back and reaches 1.0
            only with success; ``None`` when the total is unknown.
        bytes_per_second: Speed of the last seconds, the mean so far in the first ones, and the whole push's once it has
            succeeded; ``None`` while unknown.
        eta_seconds: Time left at that speed; ``None`` when it is unknown.
        layers: Every layer seen so far, in order.
        succeeded: Whether the push has succeeded.
    """

    model: str
    status: str
    total_bytes: int | None
    completed_bytes: int
    fraction: float | None
    bytes_per_second: float | None
    eta_seconds: float | None
    layers: tuple[LayerSnapshot, ...]
    succeeded: bool


class PushProgress:
    """Folds events into a :class:`ProgressSnapshot`.

    Call ``receive_event`` with each event, ``restart`` when an attempt begins again, and ``snapshot``
    whenever something is to be shown. Layers that the registry had already count as done but not as speed.

    Args:
        expected_bytes: Size of the whole push when known beforehand, from ``check`` for example.
        model: Name to show; handed through to the snapshot.
    """

    def __init__(self, expected_bytes: int | None = None, model: str = "") -> None:
        self._expected = expected_bytes
        self._planned = False
        self._model = model
        self._layers: dict[str, LayerCounter] = {}
        self._seen_bytes = 0  # size of all of them
        # A push may have thousands of layers, and a snapshot shows all: only those that moved are built again.
        self._shown: dict[str, LayerSnapshot] = {}
        self._moved_layers: dict[str, LayerCounter] = {}
        self._status = ""
        self._succeeded = False
        self._peak = 0  # high-water mark of completed bytes: what is shown never falls
        self._moved = 0  # the part of _peak that was really sent: what speed is made of
        self._began_at: float | None = None
        self._sampled_at: float | None = None
        self._sampled_moved = 0
        self._window_bytes = 0.0
        self._window_seconds = 0.0
        self._speed: float | None = None
        self._last: PushEvent | None = None

    @property
    def moved_bytes(self) -> int:
        """Bytes that moved in this push; see :attr:`LayerCounter.moved_bytes`."""
        return self._moved

    @property
    def is_crowded(self) -> bool:
        """Whether there are so many layers that a snapshot for each event would take too long."""
        return len(self._layers) > _CROWD

    def receive_event(self, event: PushEvent, now: float) -> bool:
        """Take *event*, which arrived at *now* seconds on a monotonic clock.

        Returns:
            Whether anything changed; a repeat of the event before changes nothing.
        """
        if event is self._last or event == self._last:
            self._sample(now)
            return False
        self._last, self._status = event, event.status
        if self._began_at is None:
            self._began_at = now
        if isinstance(event, LayerProgress):
            self._receive_layer(event)
        elif isinstance(event, PushSucceeded):
            self._succeed(now - self._began_at)
        elif isinstance(event, PushPlanned):
            self._expected, self._planned = event.total_bytes, True
        self._sample(now)
        return True

    def restart(self) -> None:
        """Forget which layers are under way: a new attempt reports them again. Numbers shown stay."""
        self._last = None
        for layer in self._layers.values():
            layer.restart()
        self._moved_layers.update(self._layers)

    def snapshot(self, now: float) -> ProgressSnapshot:
        """Return the numbers at *now* seconds; calling it changes nothing but the speed's sample."""
        self._sample(now)
        total = self._total()
        fraction = None
        if self._succeeded:
            fraction = 1.0
        elif total:
            # Short of 1.0 until the verdict: an error can follow the last byte.
            fraction = min(self._peak / total, math.nextafter(1.0, 0.0))
        speed = self._speed_at(now)
        eta = None
        if self._succeeded:
            eta = 0.0
        elif total is not None and speed is not None and speed >= _MIN_SPEED:
            eta = max(0, total - self._peak) / speed
        for digest, layer in self._moved_layers.items():
            self._shown[digest] = LayerSnapshot(digest, layer.total, layer.completed or 0, layer.was_present)
        self._moved_layers.clear()
        layers = tuple(self._shown.values())
        return ProgressSnapshot(
            self._model, self._status, total, self._peak, fraction, speed, eta, layers, self._succeeded
        )

    def _receive_layer(self, event: LayerProgress) -> None:
        layer = self._layers.get(event.digest)
        if layer is None and len(self._layers) >= MAX_LAYERS:
            return
        if layer is None:
            layer = self._layers[event.digest] = LayerCounter(event, planned=self._planned)
            self._peak += layer.peak
            self._moved += layer.moved_bytes
            self._seen_bytes += layer.total
            self._moved_layers[event.digest] = layer
            return
        peak, moved, size = layer.peak, layer.moved_bytes, layer.total
        layer.receive_event(event)
        self._peak += layer.peak - peak
        self._moved += layer.moved_bytes - moved
        self._seen_bytes += layer.total - size
        self._moved_layers[event.digest] = layer

    def _succeed(self, seconds: float) -> None:
        self._succeeded = True
        if self._moved and seconds >= _MIN_SAMPLE_SECONDS:
            self._speed = self._moved / seconds

    def _speed_at(self, now: float) -> float | None:
        if self._speed is None or self._succeeded or self._sampled_at is None:
            return self._speed
        # What moved since the last sample counts at once: behind a silence it may be nearly all.
        span = max(0.0, now - self._sampled_at)
        return (self._window_bytes + self._moved - self._sampled_moved) / (self._window_seconds + span)

    def _total(self) -> int | None:
        if self._expected is not None:
            return max(self._expected, self._seen_bytes)
        # The aggregate of a tensor model is the whole; a single layer never is known to be.
        return self._seen_bytes if self._succeeded or [*islice(self._layers, 2)] == ["sha256:model"] else None

    def _sample(self, now: float) -> None:
        if self._succeeded:
            return
        if self._sampled_at is None:
            self._sampled_at, self._sampled_moved = now, self._moved
            return
        span = now - self._sampled_at
        if span < _MIN_SAMPLE_SECONDS:
            return
        if self._moved:
            # An exponential average in which a second weighs the same however it is cut into samples: until there is
            # a whole window, that is the mean so far.
            kept = math.exp(-span / _MEMORY_SECONDS)
            weight = _MEMORY_SECONDS * (1.0 - kept)
            self._window_bytes = self._window_bytes * kept + weight * (self._moved - self._sampled_moved) / span
            self._window_seconds = self._window_seconds * kept + weight
            self._speed = self._window_bytes / self._window_seconds
        self._sampled_at, self._sampled_moved = now, self._moved
