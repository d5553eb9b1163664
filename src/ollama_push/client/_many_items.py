"""What both ways of pushing many models share: their items, and the verdict of what nobody expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import InvalidSetting

__all__ = ["as_items", "checked_jobs", "failed"]

_MAX_JOBS: Final = 1024


def as_items(models: Iterable[str | PushItem]) -> Iterator[PushItem]:
    """Yield *models* as items."""
    for model in models:
        yield model if isinstance(model, PushItem) else PushItem(model)


def failed(item: PushItem, exc: BaseException) -> PushVerdict:
    """Return the verdict of an item whose task raised *exc*: an executor that lost its worker, or a bug.

    Raises:
        BaseException: It ends the process, or the loop.
    """
    if not isinstance(exc, Exception):
        raise exc
    return PushVerdict(item, error=exc)


def checked_jobs(jobs: Any) -> int:
    """Return *jobs*.

    Raises:
        InvalidSetting: It is no number of pushes.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or not 1 <= jobs <= _MAX_JOBS:
        raise InvalidSetting("jobs", jobs, f"expected 1 to {_MAX_JOBS}")
    return jobs
