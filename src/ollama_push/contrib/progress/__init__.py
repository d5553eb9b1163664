"""Shows how far a push is: ``ProgressCallback``, ``RichProgress`` (extra ``cli``), ``TqdmProgress`` (extra ``tqdm``).

All read the core's ``PushProgress`` and compute nothing of their own. Each serves any number of pushes at once, sync
and async.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ollama_push.contrib.progress.callback import ProgressCallback

if TYPE_CHECKING:
    from ollama_push.contrib.progress.rich_bars import RichProgress
    from ollama_push.contrib.progress.tqdm_bars import TqdmProgress

__all__ = ["ProgressCallback", "RichProgress", "TqdmProgress"]

_EXPORTS = {"RichProgress": "rich_bars", "TqdmProgress": "tqdm_bars"}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
