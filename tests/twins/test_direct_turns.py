"""Pushes of one client take turns at a blob: whoever leaves or fails gives the turn on, nothing is sent twice."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.direct_push import BIG_DIGEST, PATIENCE, TOTAL, Direct, steps, stored
from tests.support.shared_client import Gate, Sharing, either_client

from ollama_push.client._flow_context import RecentUploads
from ollama_push.client._flow_runner_async import AsyncUploadLocks
from ollama_push.client._flow_runner_sync import UploadLocks
from ollama_push.core.errors import PushInterrupted, PushRejected
from ollama_push.core.registry.resume import UploadKey
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply, Stall

KEY: Final = UploadKey("http://registry:5000", "myuser/my-llama", BIG_DIGEST)


def looked(registry: EmbeddedRegistry, pushes: int) -> bool:
    """Wait until so many pushes have asked for all their blobs."""
    return registry.wait_until(lambda: Counter(steps(registry))["HEAD blob"] >= 3 * pushes, PATIENCE)


@either_client
def test_whoever_leaves_gives_the_turn_on(sharing: Sharing, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    stalled = Fault("PATCH", after_bytes=MIB // 2, action=Stall(30.0))
    leave = threading.Event()
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalled]) as registry:
        with sharing(Direct(host=registry.host, home=tmp_path)) as client:
            first = client.left(leave)
            assert registry.wait_until(lambda: registry.received_bytes >= MIB // 2, PATIENCE)
            second = client.push()
            assert looked(registry, 2)
            assert not second.done()
            leave.set()
            first.result(PATIENCE)
            assert second.result(PATIENCE).verified
        assert registry.manifest("myuser/my-llama", "v1") == raw


@either_client
def test_a_push_that_waits_for_its_turn_is_interrupted_at_once(sharing: Sharing, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    gate = Gate("PATCH")
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        with sharing(Direct(host=registry.host, home=tmp_path), gate) as client:
            first = client.push()
            assert gate.reached.wait(PATIENCE)
            second = client.push()
            assert looked(registry, 2)
            client.interrupt()
            with pytest.raises(PushInterrupted):
                second.result(PATIENCE)
            assert not first.done()
            gate.opened.set()
            with pytest.raises(PushInterrupted) as stopped:
                first.result(PATIENCE)
            assert stopped.value.kept_bytes == MIB
            third = client.push().result(PATIENCE)
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert registry.received_bytes == TOTAL
    assert third.resumed_bytes == MIB


def test_waiting_for_a_turn_in_a_thread_ends_when_one_is_told_to_stop() -> None:
    locks, asked, stop = UploadLocks(), threading.Event(), threading.Event()

    def interrupted() -> bool:
        asked.set()
        return stop.is_set()

    assert locks.acquire(KEY, lambda: False) is False
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(locks.acquire, KEY, interrupted)
        try:
            assert asked.wait(PATIENCE)
            assert not waiting.done()
            stop.set()
            with pytest.raises(PushInterrupted):
                waiting.result(PATIENCE)
        finally:
            locks.release(KEY)
    assert locks.acquire(KEY, lambda: False) is True


async def a_few_turns() -> None:
    """Let tasks get as far as they get without anybody's help."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_waiting_for_a_turn_on_a_loop_ends_when_one_is_told_to_stop() -> None:
    async def main() -> None:
        locks, stop = AsyncUploadLocks(), asyncio.Event()
        before = asyncio.all_tasks()
        assert await locks.acquire(KEY, stop) is False
        waiting = asyncio.create_task(locks.acquire(KEY, stop))
        await a_few_turns()
        assert not waiting.done()
        stop.set()
        with pytest.raises(PushInterrupted):
            await waiting
        await a_few_turns()
        assert asyncio.all_tasks() == before
        locks.release(KEY)
        assert await locks.acquire(KEY, asyncio.Event()) is True

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@either_client
def test_what_another_push_brought_between_the_look_and_the_turn_is_not_sent(sharing: Sharing, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    # The first push has looked for everything, and the second comes and goes before it does anything about it.
    gate = last_look()
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        with sharing(Direct(host=registry.host, home=tmp_path), gate) as client:
            slow = client.push()
            assert gate.reached.wait(PATIENCE)
            quick = client.push().result(PATIENCE)
            gate.opened.set()
            late = slow.result(PATIENCE)
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert (registry.received_bytes, Counter(steps(registry))["POST open"]) == (TOTAL, 3)
    assert (quick.sent_bytes, quick.skipped_bytes) == (TOTAL, 0)
    assert (late.sent_bytes, late.skipped_bytes) == (0, TOTAL)


@either_client
def test_what_another_push_failed_to_bring_is_sent(sharing: Sharing, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    gate = last_look()
    denied = Fault("PATCH", action=Reply(507))
    with EmbeddedRegistry(tmp_path / "registry", faults=[denied]) as registry:
        with sharing(Direct(host=registry.host, home=tmp_path), gate) as client:
            slow = client.push()
            assert gate.reached.wait(PATIENCE)
            with pytest.raises(PushRejected):
                client.push().result(PATIENCE)
            gate.opened.set()
            late = slow.result(PATIENCE)
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert registry.received_bytes == TOTAL
    assert (late.sent_bytes, late.skipped_bytes) == (TOTAL, 0)


def last_look() -> Gate:
    """Return a gate that holds the first push at its last look; blobs are asked for one after the other."""
    return Gate("HEAD", "/blobs/", nth=3)


def test_the_oldest_of_more_than_a_thousand_turns_is_forgotten() -> None:
    keys = [UploadKey("http://registry:5000", "myuser/my-llama", str(number)) for number in range(1001)]
    recent = RecentUploads()
    recent.add(*keys[:1000])
    recent.add(keys[0])  # now it is the youngest
    recent.add(keys[1000])
    assert [key for key in keys if key not in recent] == [keys[1]]
