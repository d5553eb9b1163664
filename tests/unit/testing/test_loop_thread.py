"""A context manager is held open on a loop in a thread, and its errors come back to the caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ollama_push.testing._loop_thread import LoopThread

_NAME = "loop-under-test"


def _is_running() -> bool:
    return any(thread.name == _NAME for thread in threading.enumerate())


@asynccontextmanager
async def _open(
    events: list[str], *, enter: Exception | None = None, leave: Exception | None = None
) -> AsyncIterator[int]:
    events.append("entered")
    if enter is not None:
        raise enter
    yield 7
    events.append("left")
    if leave is not None:
        raise leave


def test_the_context_is_open_until_the_thread_is_closed() -> None:
    events: list[str] = []
    thread = LoopThread(lambda: _open(events), _NAME)
    assert thread.value == 7
    assert thread.loop.is_running()
    assert events == ["entered"]
    thread.close()
    assert events == ["entered", "left"]
    assert not _is_running()


def test_what_entering_raises_comes_from_the_constructor() -> None:
    error = LookupError("no entry")
    with pytest.raises(LookupError) as caught:
        LoopThread(lambda: _open([], enter=error), _NAME)
    assert caught.value is error
    assert not _is_running()


def test_what_leaving_raises_comes_from_close() -> None:
    error = LookupError("no exit")
    thread = LoopThread(lambda: _open([], leave=error), _NAME)
    with pytest.raises(LookupError) as caught:
        thread.close()
    assert caught.value is error
    assert not _is_running()


def test_tasks_that_still_run_are_cancelled_after_the_context_was_left() -> None:
    events: list[str] = []
    thread = LoopThread(lambda: _open(events), _NAME)

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cancelled")

    waiting = asyncio.run_coroutine_threadsafe(wait(), thread.loop)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), thread.loop).result()  # wait() runs by now
    thread.close()
    assert events == ["entered", "left", "cancelled"]
    assert waiting.cancelled()
