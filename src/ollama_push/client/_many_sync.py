"""Many pushes by one sync client, or by any executor. Its twin is ``_many_async.py``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from ollama_push.client._many_items import as_items, failed
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import OllamaPushError, PushInterrupted
from ollama_push.core.receipts import PushReceipt

__all__ = ["push_many_by", "verdict_of"]


def verdict_of(push: Callable[[PushItem], PushReceipt], item: PushItem) -> PushVerdict:
    """Push *item* and return its verdict."""
    try:
        return PushVerdict(item, push(item))
    except OllamaPushError as exc:
        return PushVerdict(item, error=exc)


def push_many_by(
    models: Iterable[str | PushItem],
    executor: Executor,
    push: Callable[[PushItem], PushVerdict],
    jobs: int,
    interrupted: Callable[[], bool],
) -> Generator[PushVerdict, None, None]:
    """Have *executor* push *models*, *jobs* at a time, and yield the verdicts as they come.

    After an interruption, the models that were not begun get that verdict.
    """
    waiting = as_items(models)
    running = dict[Future[PushVerdict], PushItem]()
    try:
        while True:
            while len(running) < jobs and not interrupted():
                if (item := next(waiting, None)) is None:
                    break
                running[executor.submit(push, item)] = item
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                exc = future.exception()
                yield future.result() if exc is None else failed(item, exc)
        for item in waiting:
            yield PushVerdict(item, error=PushInterrupted())
    finally:
        for future in running:
            future.cancel()
