"""Whoever leaves a direct push hangs up and leaves nothing behind; whoever interrupts it keeps what was sent."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
from tests.support.blobs import MIB
from tests.support.direct_push import (
    PATIENCE,
    TOTAL,
    Colour,
    Direct,
    Saving,
    either_colour,
    push,
    settings,
    steps,
    stored,
)

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.errors import PushInterrupted
from ollama_push.core.events import LayerProgress
from ollama_push.core.observations import Observation, PushFinished, PushOutcome, RequestRetried
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply, Stall

HALF_WAY: Final = Fault("PATCH", after_bytes=MIB // 2, action=Stall(30.0))
LONG_WAIT: Final = Fault("PATCH", nth=2, times=None, action=Reply(503, {"Retry-After": "50"}))


def open_sockets() -> int:
    return sum(
        1 for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and str(_target(link)).startswith("socket:")
    )


def _target(link: Path) -> Path | str:
    try:
        return link.readlink()
    except OSError:  # the descriptor that lists the folder
        return ""


def our_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("ollama-push"))


@contextmanager
def nothing_left() -> Iterator[None]:
    """Sockets and threads are as many after the block as before."""
    gc.collect()
    before = open_sockets(), our_threads()
    yield
    gc.collect()
    assert (open_sockets(), our_threads()) == before


def outcomes(seen: list[Observation]) -> list[PushOutcome]:
    return [one.outcome for one in seen if isinstance(one, PushFinished)]


def patch_is_half_way(registry: EmbeddedRegistry) -> bool:
    return registry.wait_until(lambda: registry.received_bytes >= MIB // 2, PATIENCE)


def test_leaving_the_sync_block_hangs_up(tmp_path: Path) -> None:
    seen: list[Observation] = []
    stored(tmp_path)
    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", faults=[HALF_WAY]) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        with RegistryClient(**settings(asked, [seen.append])) as client:
            with client.stream(asked.name, source=asked.source) as events:
                for event in events:
                    if isinstance(event, LayerProgress) and event.completed == 0:
                        break
                assert patch_is_half_way(registry)
            assert our_threads() == []
        assert [one.status for one in registry.requests if one.method == "PATCH"] == [None]
        assert registry.manifest("myuser/my-llama", "v1") is None
    assert outcomes(seen) == [PushOutcome.CANCELLED]


def test_ctrl_c_ends_a_sync_push_at_once_although_the_registry_is_silent(tmp_path: Path) -> None:
    seen: list[Observation] = []
    stored(tmp_path)

    def press(registry: EmbeddedRegistry, main: int) -> None:
        assert patch_is_half_way(registry)
        signal.pthread_kill(main, signal.SIGINT)

    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", faults=[HALF_WAY]) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        with RegistryClient(**settings(asked, [seen.append])) as client, ThreadPoolExecutor(1) as hand:
            pressed = hand.submit(press, registry, threading.get_ident())
            with pytest.raises(KeyboardInterrupt):
                client.push(asked.name, source=asked.source)
            assert our_threads() == []
            pressed.result()
    assert outcomes(seen) == [PushOutcome.CANCELLED]
    finished = seen[-1]
    assert isinstance(finished, PushFinished)
    assert finished.elapsed < 2.0  # the limit for threads that do not end


@pytest.mark.slow
@pytest.mark.parametrize("how", ["leave", "cancel"])
def test_leaving_the_async_block_hangs_up(how: str, tmp_path: Path) -> None:
    seen: list[Observation] = []
    stored(tmp_path)

    async def leave(client: AsyncRegistryClient, asked: Direct, registry: EmbeddedRegistry) -> None:
        async with client.stream(asked.name, source=asked.source) as events:
            async for event in events:
                if isinstance(event, LayerProgress) and event.completed == 0:
                    break
            assert await asyncio.to_thread(patch_is_half_way, registry)

    async def cancel(client: AsyncRegistryClient, asked: Direct, registry: EmbeddedRegistry) -> None:
        task = asyncio.create_task(client.push(asked.name, source=asked.source))
        assert await asyncio.to_thread(patch_is_half_way, registry)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def run(registry: EmbeddedRegistry) -> None:
        asked = Direct(host=registry.host, home=tmp_path)
        before = len(asyncio.all_tasks())
        async with AsyncRegistryClient(**settings(asked, [seen.append])) as client:
            await (leave if how == "leave" else cancel)(client, asked, registry)
            assert len(asyncio.all_tasks()) == before

    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", faults=[HALF_WAY]) as registry:
        asyncio.run(asyncio.wait_for(run(registry), PATIENCE))
        assert [one.status for one in registry.requests if one.method == "PATCH"] == [None]
        assert registry.manifest("myuser/my-llama", "v1") is None
    assert outcomes(seen) == [PushOutcome.CANCELLED]


@pytest.mark.slow
@either_colour
def test_a_push_leaves_nothing_behind(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    colour(Direct(host="127.0.0.1:1", home=tmp_path))  # whatever is opened once and kept is open now
    with nothing_left(), EmbeddedRegistry(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, concurrency=4))
    assert told.error is None
    assert list((tmp_path / "uploads").glob("*.json")) == []


@pytest.mark.slow
@either_colour
def test_a_failed_push_leaves_nothing_behind(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    colour(Direct(host="127.0.0.1:1", home=tmp_path))
    fault = Fault("PATCH", times=None, action=Reply(507))
    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, concurrency=4))
    assert told.error is not None


def interrupted(colour: Colour, asked: Direct, *, at_offset: int | None = None) -> list[Observation]:
    """Push with a client of that colour that is interrupted at *at_offset*, or else when it retries."""
    seen: list[Observation] = []

    def hook(observation: Observation) -> None:
        seen.append(observation)
        if isinstance(observation, RequestRetried) and at_offset is None:
            client.interrupt()

    resume = Saving(asked.home, lambda offset: client.interrupt() if offset == at_offset else None)
    arguments = settings(attrs.evolve(asked, resume=resume), [hook])
    client: RegistryClient | AsyncRegistryClient
    if colour is push:
        with RegistryClient(**arguments) as client, pytest.raises(PushInterrupted):
            client.push(asked.name, source=asked.source)
        return seen

    async def run() -> None:
        nonlocal client
        async with asyncio.timeout(PATIENCE), AsyncRegistryClient(**arguments) as client:
            with pytest.raises(PushInterrupted):
                await client.push(asked.name, source=asked.source)

    asyncio.run(run())
    return seen


@pytest.mark.slow
@either_colour
def test_an_interrupt_ends_a_wait_at_once_and_the_next_push_goes_on(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=[attempts_of(LONG_WAIT)]) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        with nothing_left():
            seen = interrupted(colour, asked)
        end = seen[-1]
        assert isinstance(end, PushFinished)
        assert end.outcome is PushOutcome.CANCELLED
        assert end.elapsed < 5.0  # the registry asked for 50 s
        assert isinstance(end.error, PushInterrupted)
        assert (end.error.kept_bytes, end.error.total_bytes) == (MIB, TOTAL)
        assert [session.size for session in registry.sessions()] == [MIB]
        told = colour(asked)
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert registry.received_bytes == TOTAL
    assert told.receipt is not None
    assert (told.receipt.resumed_bytes, told.receipt.sent_bytes) == (MIB, TOTAL - MIB)


def attempts_of(fault: Fault) -> Fault:
    return Fault(fault.method, fault.path, fault.nth, 1, action=fault.action)


@either_colour
def test_an_interrupt_between_parts_begins_no_further_one(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        seen = interrupted(colour, asked, at_offset=MIB)
        assert outcomes(seen) == [PushOutcome.CANCELLED]
        assert Counter(steps(registry))["PATCH session"] == 1
        assert [session.size for session in registry.sessions()] == [MIB]
        told = colour(asked)
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert registry.received_bytes == TOTAL
    assert told.receipt is not None
    assert told.receipt.resumed_bytes == MIB


@either_colour
def test_what_an_earlier_push_left_is_begun_anew_once_the_registry_dropped_it(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=[attempts_of(LONG_WAIT)]) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        interrupted(colour, asked)
        registry.expire_sessions()
        told = colour(asked)
        assert told.error is None
        assert registry.received_bytes == TOTAL + MIB
    assert told.receipt is not None
    assert (told.receipt.resumed_bytes, told.receipt.sent_bytes) == (0, TOTAL)


@either_colour
def test_what_an_earlier_push_left_counts_as_resumed_only_where_it_was_used(colour: Colour, tmp_path: Path) -> None:
    """The session answers with its size, and is gone by the time the next part comes."""
    stored(tmp_path)
    faults = [attempts_of(LONG_WAIT), Fault("PATCH", nth=3, action=Reply(404))]
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        interrupted(colour, asked)
        told = colour(asked)
        assert told.error is None
        assert registry.received_bytes == TOTAL + MIB
    assert told.receipt is not None
    assert (told.receipt.sent_bytes or 0) >= TOTAL
    assert told.receipt.resumed_bytes == 0
