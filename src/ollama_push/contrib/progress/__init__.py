"""Shows progress: ``ProgressCallback``, ``RichProgress`` (extra ``cli``), ``TqdmProgress`` (extra ``tqdm``).

All show the numbers of the core's ``PushProgress``. Each serves any number of pushes at once, sync and async.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ollama_push._exports import lazy
from ollama_push.contrib.progress.hook import ProgressCallback

if TYPE_CHECKING:
    from ollama_push.contrib.progress.rich_bars import RichProgress
    from ollama_push.contrib.progress.tqdm_bars import TqdmProgress

__all__ = ["ProgressCallback", "RichProgress", "TqdmProgress"]

__getattr__: Callable[[str], Any] = lazy(__name__, {"RichProgress": "rich_bars", "TqdmProgress": "tqdm_bars"})
