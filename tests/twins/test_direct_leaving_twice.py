"""Whoever is cancelled again while the first cancel still ends things gets away at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.direct_push import BIG_DIGEST, PATIENCE, REPOSITORY, SMALL_DIGEST, Direct, settings, stored
from tests.twins.test_direct_leaving import nothing_left, outcomes

from ollama_push import AsyncRegistryClient
from ollama_push.core.observations import Observation, PushOutcome
from ollama_push.core.ports import AsyncResponse, HttpRequest
from ollama_push.core.registry.resume import UploadKey
from ollama_push.local import FileResumeStore
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall
from ollama_push.transports import AiohttpTransport

pytestmark = pytest.mark.slow

STALLED: Final = (
    Fault("PATCH", after_bytes=MIB // 2, action=Stall(30.0)),
    Fault("PUT", SMALL_DIGEST, after_bytes=1000, action=Stall(30.0)),
)


def both_are_half_way(registry: EmbeddedRegistry) -> bool:
    return registry.wait_until(lambda: registry.received_bytes >= MIB // 2 + 1000, PATIENCE)


def is_free(home: Path, key: UploadKey) -> bool:
    """Say whether another process gets the unfinished upload *key*."""
    other = FileResumeStore(home / "uploads")
    try:
        return other.claim(key) is not None
    finally:
        other.release(key)


async def a_few_turns() -> None:
    """Let tasks get as far as they get without anybody's help."""
    for _ in range(20):
        await asyncio.sleep(0)


async def cancel_until_done(task: asyncio.Task[object]) -> int:
    """Cancel *task* at every turn of the loop; return how often that was."""
    times = 0
    while not task.done():
        task.cancel()
        times += 1
        await asyncio.sleep(0)
    return times


def test_a_cancel_at_every_turn_leaves_nothing_behind(tmp_path: Path) -> None:
    """Two blobs on their way, and another push of the same client that waits for its turn."""
    seen: list[Observation] = []
    stored(tmp_path)

    async def run(registry: EmbeddedRegistry) -> None:
        asked = Direct(host=registry.host, home=tmp_path, concurrency=2)
        before = asyncio.all_tasks()
        async with AsyncRegistryClient(**settings(asked, [seen.append])) as client:
            tasks = [asyncio.create_task(client.push(asked.name, source=asked.source))]
            assert await asyncio.to_thread(both_are_half_way, registry)
            tasks.append(asyncio.create_task(client.push(asked.name, source=asked.source)))
            assert await asyncio.to_thread(
                registry.wait_until, lambda: sum(each.method == "HEAD" for each in registry.requests) >= 8, PATIENCE
            )
            times = await asyncio.gather(*(cancel_until_done(task) for task in tasks))
            assert min(times) >= 2
            assert [task.cancelled() for task in tasks] == [True, True]
        # A thread releases what the second cancel did not wait for; the end of the client does.
        for digest in (BIG_DIGEST, SMALL_DIGEST):
            assert is_free(tmp_path, UploadKey(registry.url, REPOSITORY, digest))
        assert asyncio.all_tasks() == before

    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", faults=STALLED) as registry:
        asyncio.run(asyncio.wait_for(run(registry), PATIENCE))
        assert registry.manifest(REPOSITORY, "v1") is None
    assert outcomes(seen) == [PushOutcome.CANCELLED, PushOutcome.CANCELLED]


class SlowToLeave:
    """A transport that takes its time to hang up the first part.

    Attributes:
        leaving: Set when it does.
        released: Set it to let it go on.
    """

    def __init__(self) -> None:
        self.leaving = asyncio.Event()
        self.released = asyncio.Event()
        self._inner = AiohttpTransport()

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[AsyncResponse]:
        try:
            async with self._inner.open(request) as response:
                yield response
        finally:
            if request.method == "PATCH" and not self.leaving.is_set():
                self.leaving.set()
                await self.released.wait()

    async def aclose(self) -> None:
        await self._inner.aclose()


def test_one_cancel_waits_until_every_blob_has_hung_up(tmp_path: Path) -> None:
    stored(tmp_path)

    async def run(registry: EmbeddedRegistry) -> None:
        asked = Direct(host=registry.host, home=tmp_path, concurrency=2)
        before = asyncio.all_tasks()
        transport = SlowToLeave()
        async with aclosing(transport):
            client = AsyncRegistryClient(transport=transport, **settings(asked))
            task = asyncio.create_task(client.push(asked.name, source=asked.source))
            assert await asyncio.to_thread(both_are_half_way, registry)
            task.cancel()
            await transport.leaving.wait()
            await a_few_turns()
            assert not task.done()
            transport.released.set()
            await asyncio.wait([task])
            assert task.cancelled()
            assert asyncio.all_tasks() == before

    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", faults=STALLED) as registry:
        asyncio.run(asyncio.wait_for(run(registry), PATIENCE))


def test_a_second_cancel_does_not_wait_for_the_first_ones_work_and_the_next_push_has_its_turn(tmp_path: Path) -> None:
    raw = stored(tmp_path)

    async def run(registry: EmbeddedRegistry) -> None:
        asked = Direct(host=registry.host, home=tmp_path)
        before = asyncio.all_tasks()
        transport = SlowToLeave()
        async with aclosing(transport):
            client = AsyncRegistryClient(transport=transport, **settings(asked))
            task = asyncio.create_task(client.push(asked.name, source=asked.source))
            assert await asyncio.to_thread(registry.wait_until, lambda: registry.received_bytes > 0, PATIENCE)
            task.cancel()
            await transport.leaving.wait()
            assert not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            late = asyncio.all_tasks() - before
            assert is_free(tmp_path, UploadKey(registry.url, REPOSITORY, BIG_DIGEST))
            receipt = await client.push(asked.name, source=asked.source)
            assert receipt.verified
            # What was cancelled ends as soon as it can.
            assert late & asyncio.all_tasks()
            transport.released.set()
            await asyncio.wait(late)
            assert registry.manifest(REPOSITORY, "v1") == raw
        assert asyncio.all_tasks() == before

    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", faults=STALLED[:1]) as registry:
        asyncio.run(asyncio.wait_for(run(registry), PATIENCE))
    assert list((tmp_path / "uploads").glob("*.json")) == []
