"""Bars on a terminal, drawn by rich: one per layer, one for all, with speed and time left."""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs

from ollama_push.contrib.progress.tracking import ExpectedBytes, ProgressHook
from ollama_push.core.messages import printable
from ollama_push.core.observations import PushContext, PushFinished
from ollama_push.core.progress import ProgressSnapshot
from ollama_push.core.registry.manifests import short_digest
from ollama_push.core.units import bytes_text, seconds_text, share_text, speed_text

try:
    from rich.console import Console
    from rich.progress import TaskID

    from ollama_push.contrib.progress.rich_layout import FittingProgress
except ImportError as _exc:
    raise ImportError("RichProgress needs: pip install 'ollama-push[cli]'") from _exc

__all__ = ["RichProgress"]


@attrs.define
class _Bars:
    """The bars of one push."""

    overall: TaskID
    layers: dict[str, TaskID] = attrs.field(factory=dict)


class RichProgress(ProgressHook):
    """Draws bars while pushes run; the last picture stays on the terminal.

    Args:
        console: Where to draw; default: stderr.
        min_interval: Seconds between two redraws.
        expected_bytes: Size of the push, or of each by canonical model name, if known.
        clock: Monotonic seconds, for rich's own animation.
    """

    def __init__(
        self,
        console: Console | None = None,
        min_interval: float = 0.1,
        *,
        expected_bytes: ExpectedBytes = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(min_interval, expected_bytes)
        self._console = Console(stderr=True) if console is None else console
        self._clock = clock
        self._lock = threading.Lock()
        self._bars: dict[PushContext, _Bars] = {}
        self._drawing: FittingProgress | None = None

    def begin(self, push: PushContext) -> None:
        """Add the bar of a push; the first one starts the drawing."""
        with self._lock:
            if self._drawing is None:
                self._drawing = FittingProgress(self._console, self._clock)
                self._drawing.start()
            overall = self._drawing.add_task(printable(push.model), total=None, share="", size="", speed="", left="")
            self._bars[push] = _Bars(overall)

    def show(self, push: PushContext, now: ProgressSnapshot) -> None:
        """Move the bars of a push."""
        with self._lock:
            bars = self._bars.get(push)
            if bars is None or self._drawing is None:
                return
            for layer in now.layers:
                task = bars.layers.get(layer.digest)
                if task is None:
                    name = f"  {printable(short_digest(layer.digest))}"
                    task = bars.layers[layer.digest] = self._drawing.add_task(
                        name, share="", size="", speed="", left=""
                    )
                shown = min(layer.completed_bytes, layer.total_bytes)
                # rich draws no full bar of zero, so an empty layer is one of one.
                self._drawing.update(
                    task,
                    total=layer.total_bytes or 1,
                    completed=shown if layer.total_bytes else 1,
                    share=f"{shown * 100 // layer.total_bytes if layer.total_bytes else 100}%",
                    size=bytes_text(layer.total_bytes),
                    speed="there" if layer.was_present else "",
                )
            self._drawing.update(
                bars.overall,
                total=now.total_bytes,
                completed=now.completed_bytes,
                share="" if now.fraction is None else share_text(now.fraction),
                size=_size(now),
                speed="" if now.bytes_per_second is None else speed_text(now.bytes_per_second),
                left=_time_left(now),
            )
            self._drawing.refresh()

    def end(self, seen: PushFinished) -> None:
        """Drop a push; the last one ends the drawing."""
        with self._lock:
            self._bars.pop(seen.push, None)
            if not self._bars and self._drawing is not None:
                self._drawing.stop()
                self._drawing = None


def _size(now: ProgressSnapshot) -> str:
    if now.total_bytes is None:
        return bytes_text(now.completed_bytes)
    return f"{bytes_text(now.completed_bytes)} of {bytes_text(now.total_bytes)}"


def _time_left(now: ProgressSnapshot) -> str:
    if now.succeeded:
        return "done"
    return "? left" if now.eta_seconds is None else f"{seconds_text(now.eta_seconds)} left"
