"""The base of all progress hooks, and the one that calls a function: for programs that draw progress themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from ollama_push.core.events import LayerProgress
from ollama_push.core.observations import AttemptStarted, EventSeen, Observation, PushContext, PushFinished, PushStarted
from ollama_push.core.progress import ProgressSnapshot, PushProgress

__all__ = ["ExpectedBytes", "ProgressCallback", "ProgressHook"]

ExpectedBytes = int | Mapping[str, int | None] | None
"""Size of the push, or of each push by canonical model name; without it there is no overall share and no ETA."""


class ProgressHook:
    """Keeps the progress of every push; subclasses show it.

    Args:
        min_interval: Seconds between two updates of a layer.
        expected_bytes: The sizes, as from ``check``.
    """

    def __init__(self, min_interval: float, expected_bytes: ExpectedBytes) -> None:
        self.min_interval = min_interval
        self._expected = expected_bytes
        self._due: WeakKeyDictionary[PushContext, float] = WeakKeyDictionary()
        self._pushes: WeakKeyDictionary[PushContext, PushProgress] = WeakKeyDictionary()

    def __call__(self, seen: Observation, /) -> None:
        """Update the progress of the push of *seen*, and show it."""
        match seen:
            case EventSeen(push=push, event=event, elapsed=elapsed):
                progress = self._progress_of(push)
                progress.receive_event(event, elapsed)
                # Events of new layers are not throttled, and each snapshot has all: ever new ones would stop a push.
                if progress.is_crowded and isinstance(event, LayerProgress) and elapsed < self._due.get(push, 0.0):
                    return
                self._due[push] = elapsed + self.min_interval
                self.show(push, progress.snapshot(elapsed))
            case PushStarted(push=push):
                self.begin(push)
            case AttemptStarted(push=push, attempt=attempt, elapsed=elapsed) if attempt > 1:
                progress = self._progress_of(push)
                progress.restart()
                self.show(push, progress.snapshot(elapsed))
            case PushFinished(push=push):
                self.end(seen)
                self._pushes.pop(push, None)
            case _:
                pass

    def begin(self, push: PushContext) -> None:
        """Begin to show a push."""

    def show(self, push: PushContext, now: ProgressSnapshot) -> None:
        """Show the numbers of one push."""

    def end(self, seen: PushFinished) -> None:
        """End to show a push."""

    def expected_bytes_of(self, push: PushContext) -> int | None:
        """Return the size of *push*, if it was given."""
        return self._expected.get(push.model) if isinstance(self._expected, Mapping) else self._expected

    def _progress_of(self, push: PushContext) -> PushProgress:
        progress = self._pushes.get(push)
        if progress is None:
            progress = self._pushes[push] = PushProgress(self.expected_bytes_of(push), push.model)
        return progress


class ProgressCallback(ProgressHook):
    """Calls *fn* with a snapshot, no more often than every *min_interval* seconds per layer.

    Phases, the first and last progress of a layer, and success are never skipped; of a push with more than a thousand
    layers, the interval holds for all of them together. ``snapshot.model`` names the push. If *fn* raises, that is
    logged once, and *fn* is not called again for that push.

    Args:
        fn: Takes a ``ProgressSnapshot``; called on the pushing thread or loop: be quick, do not block.
        min_interval: Seconds.
        expected_bytes: Size of the push, or of each by canonical model name, if known.
    """

    def __init__(
        self,
        fn: Callable[[ProgressSnapshot], object],
        min_interval: float = 0.1,
        *,
        expected_bytes: ExpectedBytes = None,
    ) -> None:
        super().__init__(min_interval, expected_bytes)
        self._fn = fn

    def show(self, push: PushContext, now: ProgressSnapshot) -> None:  # noqa: ARG002 - the snapshot names the model
        self._fn(now)
