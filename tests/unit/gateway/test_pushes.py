"""The book: what runs, what ran, how many may, and who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from ollama_push.core.events import LayerProgress, PushPlanned
from ollama_push.gateway.pushes import PushBook, PushRecord, PushState, RunningPush

PATIENCE = 10.0


def begun(book: PushBook, model: str = "a/b") -> RunningPush:
    push = book.begin(model, "https://registry.example.com")
    assert push is not None
    return push


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_push_is_told_of_from_its_beginning_to_its_end() -> None:
    clock = Clock()
    book = PushBook(clock=clock, now=lambda: 1_700_000_000.0)
    push = begun(book)
    push.receive_event(PushPlanned(100))
    push.receive_event(LayerProgress("sha256:x", 100, 40, ""))
    clock.now += 5.0
    (running,) = book.records()
    assert (running.id, running.model, running.target) == (1, "a/b", "https://registry.example.com")
    assert (running.state, running.elapsed_seconds, running.started_unix) == (PushState.RUNNING, 5.0, 1_700_000_000.0)
    assert running.progress.completed_bytes == 40
    push.finish(PushState.FAILED, "no: https://s3.example.com/?X-Amz-Signature=abc")
    push.finish(PushState.CANCELLED)
    clock.now += 5.0
    (ended,) = book.records()
    assert (ended.state, ended.elapsed_seconds) == (PushState.FAILED, 5.0)
    assert ended.error == "no: https://s3.example.com/?<hidden>"
    assert book.running == 0


def test_no_more_run_than_may() -> None:
    book = PushBook(2)
    first, second = begun(book), begun(book)
    assert book.begin("a/b", "") is None
    first.finish(PushState.SUCCEEDED)
    third = begun(book)
    assert [record.id for record in book.records()] == [third.id, second.id, first.id]


def test_only_the_latest_are_remembered_but_all_are_counted() -> None:
    book = PushBook(kept=3)
    for number in range(5):
        begun(book, f"a/b{number}").finish(PushState.SUCCEEDED)
    begun(book)
    assert [record.id for record in book.records()] == [6, 5, 4, 3]
    assert book.counts == {
        PushState.RUNNING: 1,
        PushState.SUCCEEDED: 5,
        PushState.FAILED: 0,
        PushState.CANCELLED: 0,
    }


def watching(
    book: PushBook, story: Callable[[AsyncIterator[tuple[PushRecord, ...]]], Awaitable[None]], heartbeat: float = 60.0
) -> None:
    async def watch() -> None:
        async with asyncio.timeout(PATIENCE), aclosing(book.subscribe(0.0, heartbeat)) as news:
            await story(news)

    asyncio.run(watch())


def test_a_watcher_gets_everything_first_and_then_what_changed() -> None:
    book = PushBook()
    first, second = begun(book), begun(book)

    async def story(news: AsyncIterator[tuple[PushRecord, ...]]) -> None:
        assert [record.id for record in await anext(news)] == [2, 1]
        first.receive_event(PushPlanned(10))
        first.receive_event(LayerProgress("sha256:x", 10, 5, ""))
        assert [(record.id, record.progress.completed_bytes) for record in await anext(news)] == [(1, 5)]
        second.finish(PushState.CANCELLED)
        third = begun(book)
        assert [record.id for record in await anext(news)] == [third.id, 2]
        # A repeat is no news; closing is.
        first.receive_event(LayerProgress("sha256:x", 10, 5, ""))
        first.finish(PushState.SUCCEEDED)
        book.close()
        assert [record.id for record in await anext(news)] == [1]
        assert [records async for records in news] == []

    watching(book, story)


def test_a_watcher_of_a_silent_book_gets_a_heartbeat() -> None:
    book = PushBook()
    begun(book)

    async def story(news: AsyncIterator[tuple[PushRecord, ...]]) -> None:
        assert len(await anext(news)) == 1
        assert await anext(news) == ()

    watching(book, story, heartbeat=0.001)


def test_a_book_that_is_closed_already_is_shown_once() -> None:
    book = PushBook()
    begun(book)
    book.close()

    async def story(news: AsyncIterator[tuple[PushRecord, ...]]) -> None:
        assert [len(records) async for records in news] == [1]

    watching(book, story)
