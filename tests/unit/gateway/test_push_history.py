"""The history: what runs, what ran, how many may, and who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from tests.support.clocks import Clock

from ollama_push.core.events import LayerProgress, PushPlanned
from ollama_push.core.observations import PushOutcome
from ollama_push.gateway.push_history import PushHistory, PushRecord, RunningPush

PATIENCE = 10.0


def begun(history: PushHistory, model: str = "a/b") -> RunningPush:
    push = history.begin(model, "https://registry.example.com")
    assert push is not None
    return push


def test_a_push_is_told_of_from_its_beginning_to_its_end() -> None:
    clock = Clock()
    history = PushHistory(clock=clock, now=lambda: 1_700_000_000.0)
    push = begun(history)
    push.receive_event(PushPlanned(100))
    push.receive_event(LayerProgress("sha256:x", 100, 40, ""))
    clock.now += 5.0
    (running,) = history.records()
    assert (running.id, running.model, running.target) == (1, "a/b", "https://registry.example.com")
    assert (running.outcome, running.elapsed_seconds, running.started_unix) == (None, 5.0, 1_700_000_000.0)
    assert running.progress.completed_bytes == 40
    push.finish(PushOutcome.FAILED, "no: https://s3.example.com/?X-Amz-Signature=abc")
    push.finish(PushOutcome.CANCELLED)
    clock.now += 5.0
    (ended,) = history.records()
    assert (ended.outcome, ended.elapsed_seconds) == (PushOutcome.FAILED, 5.0)
    assert ended.error == "no: https://s3.example.com/?<hidden>"
    assert history.running == 0


def test_no_more_run_than_may() -> None:
    history = PushHistory(2)
    first, second = begun(history), begun(history)
    assert history.begin("a/b", "") is None
    first.finish(PushOutcome.SUCCEEDED)
    third = begun(history)
    assert [record.id for record in history.records()] == [third.id, second.id, first.id]


def test_only_the_latest_are_remembered_but_all_are_counted() -> None:
    history = PushHistory(kept=3)
    for number in range(5):
        begun(history, f"a/b{number}").finish(PushOutcome.SUCCEEDED)
    begun(history)
    assert [record.id for record in history.records()] == [6, 5, 4, 3]
    assert history.counts == {
        PushOutcome.SUCCEEDED: 5,
        PushOutcome.FAILED: 0,
        PushOutcome.CANCELLED: 0,
    }


def watching(
    history: PushHistory,
    story: Callable[[AsyncIterator[tuple[PushRecord, ...]]], Awaitable[None]],
    heartbeat: float = 60.0,
) -> None:
    async def watch() -> None:
        async with asyncio.timeout(PATIENCE), aclosing(history.subscribe(0.0, heartbeat)) as news:
            await story(news)

    asyncio.run(watch())


def test_a_watcher_gets_everything_first_and_then_what_changed() -> None:
    history = PushHistory()
    first, second = begun(history), begun(history)

    async def story(news: AsyncIterator[tuple[PushRecord, ...]]) -> None:
        assert [record.id for record in await anext(news)] == [2, 1]
        first.receive_event(PushPlanned(10))
        first.receive_event(LayerProgress("sha256:x", 10, 5, ""))
        assert [(record.id, record.progress.completed_bytes) for record in await anext(news)] == [(1, 5)]
        second.finish(PushOutcome.CANCELLED)
        third = begun(history)
        assert [record.id for record in await anext(news)] == [third.id, 2]
        # A repeat is no news; closing is.
        first.receive_event(LayerProgress("sha256:x", 10, 5, ""))
        first.finish(PushOutcome.SUCCEEDED)
        history.close()
        assert [record.id for record in await anext(news)] == [1]
        assert [records async for records in news] == []

    watching(history, story)


def test_a_watcher_of_a_silent_history_gets_a_heartbeat() -> None:
    history = PushHistory()
    begun(history)

    async def story(news: AsyncIterator[tuple[PushRecord, ...]]) -> None:
        assert len(await anext(news)) == 1
        assert await anext(news) == ()

    watching(history, story, heartbeat=0.001)


def test_a_history_that_is_closed_already_is_shown_once() -> None:
    history = PushHistory()
    begun(history)
    history.close()

    async def story(news: AsyncIterator[tuple[PushRecord, ...]]) -> None:
        assert [len(records) async for records in news] == [1]

    watching(history, story)
