"""Looks at a display from time to time while nothing else does: events alone cannot tell that there are none."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["SilenceWatch"]


class SilenceWatch:
    """Calls *look* in a thread of its own, until ``stop``.

    Args:
        look: Returns the seconds until it wants to be called again.
    """

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._stopped = threading.Event()
        # Daemon: a display that is never told the outcome, because of a bug, does not keep the process.
        self._thread = threading.Thread(target=self._run, name="ollama-push-silence", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when no look is under way."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(max(0.0, self._look())):
            pass
