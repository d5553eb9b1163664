"""Many pushes by one async client. Its twin is ``_many_sync.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from ollama_push.client._many_items import as_items, failed
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import OllamaPushError, PushInterrupted
from ollama_push.core.receipts import PushReceipt

__all__ = ["push_many_async"]


async def _verdict_of(push: Callable[[PushItem], Awaitable[PushReceipt]], item: PushItem) -> PushVerdict:
    try:
        return PushVerdict(item, await push(item))
    except OllamaPushError as exc:
        return PushVerdict(item, error=exc)


async def push_many_async(
    models: Iterable[str | PushItem],
    push: Callable[[PushItem], Awaitable[PushReceipt]],
    jobs: int,
    interrupted: Callable[[], bool],
) -> AsyncGenerator[PushVerdict, None]:
    """Push *models*, *jobs* at a time, in tasks; yield the verdicts as they come."""
    waiting = as_items(models)
    running = dict[asyncio.Task[PushVerdict], PushItem]()
    try:
        while True:
            while len(running) < jobs and not interrupted():
                if (item := next(waiting, None)) is None:
                    break
                running[asyncio.create_task(_verdict_of(push, item), name="ollama-push-many")] = item
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                item = running.pop(task)
                exc = task.exception()
                yield task.result() if exc is None else failed(item, exc)
        for item in waiting:
            yield PushVerdict(item, error=PushInterrupted())
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
