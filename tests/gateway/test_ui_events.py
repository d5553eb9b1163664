"""What keeps the status page fresh: no more than it needs, for as long as somebody reads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import ClientResponse, ClientSession
from tests.support.status_page import (
    BLOB,
    PATIENCE_SECONDS,
    a_push_under_way,
    begin,
    serving,
)

from ollama_push.core.events import LayerProgress
from ollama_push.core.observations import PushOutcome
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.status_page.feed import KEEP_ALIVE, StatusFeed


async def next_event(response: ClientResponse) -> tuple[str, Any]:
    """Return the next event's name and data, without the comments before it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            block = (await response.content.readuntil(b"\n\n")).decode()
            fields = dict(line.split(": ", 1) for line in block.strip().split("\n") if not line.startswith(":"))
            if "data" in fields:
                return fields["event"], json.loads(fields["data"])


async def status_of(session: ClientSession, url: str) -> int:
    async with session.get(url) as response:
        return response.status


def test_events_begin_with_everything_and_go_on_with_what_changed() -> None:
    async def run() -> None:
        history = PushHistory()
        first = a_push_under_way(history)
        async with (
            serving(history) as origin,
            ClientSession() as session,
            session.get(f"{origin}/ui/events") as response,
        ):
            assert response.content_type == "text/event-stream"
            kind, told = await next_event(response)
            assert (kind, [(push["id"], push["place"]) for push in told["pushes"]]) == ("whole", [(1, "now")])
            begin(history)
            kind, told = await next_event(response)
            assert (kind, [(push["id"], push["place"]) for push in told["pushes"]]) == ("changed", [(2, "now")])
            assert told["title"].startswith("(2)")
            first.finish(PushOutcome.FAILED, "no space left")
            kind, told = await next_event(response)
            assert (kind, [(push["id"], push["place"]) for push in told["pushes"]]) == ("changed", [(1, "lately")])
            assert "no space left" in told["pushes"][0]["html"]
            assert told["counts"] == "1 running, 0 succeeded, 1 failed, 0 cancelled since the start"

    asyncio.run(run())


def test_a_flood_of_changes_is_told_four_times_a_second_at_most() -> None:
    async def run() -> None:
        history = PushHistory()
        push = begin(history)
        loop = asyncio.get_running_loop()

        async def flood() -> None:
            for number in range(1_000_000):
                push.receive_event(LayerProgress(BLOB, 1_000_000, number))
                await asyncio.sleep(0)

        async with (
            serving(history) as origin,
            ClientSession() as session,
            session.get(f"{origin}/ui/events") as response,
        ):
            since = loop.time()
            flooding = asyncio.create_task(flood())
            for _ in range(5):
                await next_event(response)
            assert loop.time() - since >= 4 * 0.25 - 0.05  # the clock's and the loop's grain
            flooding.cancel()

    asyncio.run(run())


def test_a_silent_stream_says_that_it_is_there() -> None:
    async def run() -> None:
        async with (
            serving(PushHistory(), keep_alive=0.05) as origin,
            ClientSession() as session,
            session.get(f"{origin}/ui/events") as response,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            await next_event(response)
            assert await response.content.readuntil(b"\n\n") == KEEP_ALIVE
            assert await response.content.readuntil(b"\n\n") == KEEP_ALIVE

    asyncio.run(run())


def test_shutting_down_ends_the_streams_at_once() -> None:
    async def run() -> None:
        async with ClientSession() as session:
            async with serving(PushHistory()) as origin:
                response = await session.get(f"{origin}/ui/events")
                await next_event(response)
                since = asyncio.get_running_loop().time()
            assert await response.content.read() == b""
            assert asyncio.get_running_loop().time() - since < 1.0  # then the runner would have cut it

    asyncio.run(run())


def test_one_watcher_too_many_is_told_so_and_a_place_that_gets_free_is_given_away() -> None:
    async def run() -> None:
        async with serving(PushHistory(), watchers=1, keep_alive=0.05) as origin, ClientSession() as session:
            async with session.get(f"{origin}/ui/events") as first:
                await next_event(first)
                async with session.get(f"{origin}/ui/events") as second:
                    assert (second.status, second.headers["Retry-After"]) == (503, "5")
                    assert await second.text() == "1 pages are watching already; close one\n"
                first.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await status_of(session, f"{origin}/ui/events") != 200:
                    pass  # that the reader is gone is noticed with the next message

    asyncio.run(run())


def test_a_reader_that_takes_nothing_is_disconnected_and_holds_up_nobody() -> None:
    async def run() -> None:
        history = PushHistory(limit=1000, kept=1000)
        for _ in range(1000):  # megabytes: more than the sockets hold
            begin(history).finish(PushOutcome.FAILED, "no " * 3000)
        async with serving(history, watchers=2, stall_timeout=0.3) as origin, ClientSession() as session:
            host, _, port = origin.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=100)
            writer.write(b"GET /ui/events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readuntil(b"\n") == b"HTTP/1.1 200 OK\r\n"
            async with session.get(f"{origin}/ui/events", read_bufsize=2**26) as other:
                kind, told = await next_event(other)
                assert (kind, len(told["pushes"])) == ("whole", 1000)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await status_of(session, f"{origin}/ui/events") != 200:
                        pass  # its place is not free yet
            writer.transport.abort()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    asyncio.run(run())


def test_head_is_answered_for_the_page_and_not_for_the_stream() -> None:
    async def run() -> list[int]:
        async with serving(PushHistory()) as origin, ClientSession() as session:
            return [(await session.head(f"{origin}{path}")).status for path in ("/ui", "/ui/events")]

    assert asyncio.run(run()) == [200, 405]


def told(message: bytes | None) -> tuple[str, list[int]]:
    assert message is not None
    kind, _, data = message.decode().partition("\n")
    return kind, [push["id"] for push in json.loads(data.removeprefix("data: "))["pushes"]]


def test_a_push_without_events_is_shown_slower() -> None:
    seconds = [100.0]
    history = PushHistory(clock=lambda: seconds[0])
    a_push_under_way(history)
    feed = StatusFeed(history, lambda: seconds[0], 15.0)
    assert told(feed.next_message(history.records())) == ("event: whole", [1])
    seconds[0] += 1.0
    assert feed.next_message(()) is None
    seconds[0] += 1.0
    moving = begin(history)
    assert told(feed.next_message((moving.record(),))) == ("event: changed", [2, 1])


def test_a_reader_that_missed_more_than_the_history_remembers_gets_everything_again() -> None:
    history = PushHistory(kept=1)
    feed = StatusFeed(history, lambda: 0.0, 15.0)
    forgotten, remembered = begin(history), begin(history)
    assert told(feed.next_message(history.records())) == ("event: whole", [2, 1])
    forgotten.finish(PushOutcome.CANCELLED)
    remembered.finish(PushOutcome.CANCELLED)
    assert told(feed.next_message((remembered.record(),))) == ("event: whole", [2])


def test_what_is_shown_already_is_not_sent_again() -> None:
    history = PushHistory(clock=lambda: 0.0)
    push = a_push_under_way(history)
    feed = StatusFeed(history, lambda: 0.0, 15.0)
    feed.next_message(history.records())
    assert feed.next_message((push.record(),)) is None
