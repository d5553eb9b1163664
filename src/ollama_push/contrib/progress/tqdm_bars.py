"""A bar per push drawn by tqdm, in terminals and, through ``tqdm.auto``, in notebooks."""

from __future__ import annotations

import threading
from typing import Any

from ollama_push.contrib.progress.hook import ExpectedBytes, ProgressHook
from ollama_push.core.messages import printable
from ollama_push.core.observations import PushContext, PushFinished, PushOutcome
from ollama_push.core.progress import ProgressSnapshot
from ollama_push.core.units import seconds_text, speed_text

try:
    from tqdm.auto import tqdm
except ImportError as _exc:
    raise ImportError("TqdmProgress needs: pip install 'ollama-push[tqdm]'") from _exc

__all__ = ["TqdmProgress"]

# Not tqdm's own rate and ETA, which count rollbacks and layers that the registry had: ours are in the postfix.
_KNOWN = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
_UNKNOWN = "{desc} {n_fmt}{postfix}"


class TqdmProgress(ProgressHook):
    """Draws one bar per push.

    Args:
        min_interval: Seconds between two updates of a layer.
        expected_bytes: Size of the push, or of each by canonical model name, if known.
        options: For ``tqdm``, such as ``file=`` or ``ncols=``.
    """

    def __init__(self, min_interval: float = 0.1, *, expected_bytes: ExpectedBytes = None, **options: Any) -> None:
        super().__init__(min_interval, expected_bytes)
        self._options = options
        self._lock = threading.Lock()
        self._bars: dict[PushContext, Any] = {}

    def begin(self, push: PushContext) -> None:
        name = printable(push.model)
        # A notebook draws the bar of a total that it is told later as a dot.
        total = self.expected_bytes_of(push) or None
        bar_format = _UNKNOWN if total is None else _KNOWN
        options = {"desc": name, "unit": "B", "unit_scale": True, "bar_format": bar_format, **self._options}
        with self._lock:
            self._bars[push] = tqdm(total=total, **options)

    def show(self, push: PushContext, now: ProgressSnapshot) -> None:
        with self._lock:
            bar = self._bars.get(push)
            if bar is None:
                return
            if bar.total != now.total_bytes and _is_widget(bar):
                bar.reset(now.total_bytes)
            bar.total = now.total_bytes
            bar.bar_format = self._options.get("bar_format", _UNKNOWN if now.total_bytes is None else _KNOWN)
            bar.n = now.completed_bytes
            bar.set_postfix_str(_facts(now), refresh=False)
            bar.refresh()

    def end(self, seen: PushFinished) -> None:
        with self._lock:
            bar = self._bars.pop(seen.push, None)
        if bar is None:
            return
        if _is_widget(bar):
            # By itself it is green whenever all bytes are there, and red whenever some are not.
            if seen.outcome is PushOutcome.SUCCEEDED:
                bar.total = bar.n
            else:
                bar.disp(bar_style="danger")
        bar.close()


def _is_widget(bar: Any) -> bool:
    """Say whether *bar* is drawn with ipywidgets (tqdm 4.66 "notebook.py")."""
    return hasattr(bar, "container")


def _facts(now: ProgressSnapshot) -> str:
    if now.succeeded:
        return "done"
    speed = "speed unknown" if now.bytes_per_second is None else speed_text(now.bytes_per_second)
    return (
        f"{speed}, time left unknown" if now.eta_seconds is None else f"{speed}, {seconds_text(now.eta_seconds)} left"
    )
