"""Progress as a function call: for web apps, notebooks and other programs that draw it themselves."""

from __future__ import annotations

from collections.abc import Callable

from ollama_push.contrib.progress.tracking import ExpectedBytes, ProgressHook
from ollama_push.core.observations import PushContext
from ollama_push.core.progress import ProgressSnapshot

__all__ = ["ProgressCallback"]


class ProgressCallback(ProgressHook):
    """Calls *fn* with a snapshot, no more often than every *min_interval* seconds per layer.

    Phases, the first and last progress of a layer, and success are never skipped. ``snapshot.model`` names the
    push. If *fn* raises, that is logged once, and *fn* is not called again for that push.

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
        """Call the function."""
        self._fn(now)
