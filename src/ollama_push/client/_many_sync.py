"""Many pushes by one sync client, or by any executor. Its twin is ``_many_async.py``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Executor, Future
from queue import SimpleQueue

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

    After an interruption, the models that were not begun get that verdict. An executor that takes no more work, because
    it has lost its workers or was shut down, is the verdict of each model that is left.
    """
    waiting = as_items(models)
    running = dict[Future[PushVerdict], PushItem]()
    # Not concurrent.futures.wait(): it is not told of a future that its executor cancelled (CPython 3.11.7,
    # ThreadPoolExecutor.shutdown(cancel_futures=True)). Callbacks are called.
    ended = SimpleQueue[Future[PushVerdict]]()
    try:
        while True:
            while len(running) < jobs and not interrupted():
                if (item := next(waiting, None)) is None:
                    break
                try:
                    future = executor.submit(push, item)
                except Exception as exc:  # noqa: BLE001 - each executor has its own
                    yield failed(item, exc)
                else:
                    running[future] = item
                    future.add_done_callback(ended.put)
            if not running:
                break
            future = ended.get()
            yield _verdict_in(future, running.pop(future))
        for item in waiting:
            yield PushVerdict(item, error=PushInterrupted())
    finally:
        for future in running:
            future.cancel()


def _verdict_in(future: Future[PushVerdict], item: PushItem) -> PushVerdict:
    try:
        exc = future.exception()
    except CancelledError as cancelled:  # by its executor
        exc = cancelled
    return future.result() if exc is None else failed(item, exc)
