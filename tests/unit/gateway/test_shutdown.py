"""The end of a gateway: which blocks of work it cancels, and when."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from ollama_push.gateway.shutdown import CancelledByShutdown, Shutdown

LONG_SECONDS = 60.0


async def begin_in(shutdown: Shutdown, block: AbstractAsyncContextManager[None]) -> None:
    """Begin the shutdown in *block*, and wait there for long."""
    async with block:
        shutdown.begin()
        await asyncio.sleep(LONG_SECONDS)


def test_a_block_is_cancelled_as_soon_as_the_shutdown_begins() -> None:
    shutdown = Shutdown(LONG_SECONDS)
    with pytest.raises(CancelledByShutdown):
        asyncio.run(begin_in(shutdown, shutdown.cancels_at_once()))
    assert shutdown.has_begun


def test_a_block_is_cancelled_when_the_grace_is_over() -> None:
    shutdown = Shutdown(0.01)
    with pytest.raises(CancelledByShutdown):
        asyncio.run(begin_in(shutdown, shutdown.cancels_after_grace()))


def test_a_block_that_ends_in_its_grace_is_not_cancelled() -> None:
    async def run() -> None:
        shutdown = Shutdown(LONG_SECONDS)
        async with shutdown.cancels_after_grace():
            shutdown.begin()
            shutdown.begin()

    asyncio.run(run())


def test_no_block_begins_once_the_shutdown_has_begun() -> None:
    async def run() -> None:
        shutdown = Shutdown(LONG_SECONDS)
        shutdown.begin()
        for block in (shutdown.cancels_at_once(), shutdown.cancels_after_grace()):
            with pytest.raises(CancelledByShutdown):
                await block.__aenter__()

    asyncio.run(run())


def test_a_timeout_of_the_block_itself_stays_one() -> None:
    async def run() -> None:
        shutdown = Shutdown(LONG_SECONDS)
        async with shutdown.cancels_after_grace():
            shutdown.begin()
            raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(run())
