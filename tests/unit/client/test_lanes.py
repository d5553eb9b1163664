"""The threads of an async client: each kind of work has its own, look-ups are shared, and nothing is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ollama_push.client._lanes import Lane, Lanes
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import Credential, Login

PATIENCE = 20.0
LOGIN = Login("ann", "s3cret-of-ann")


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await story()

    asyncio.run(main())


def threads_of(name: str) -> int:
    return sum(thread.name.startswith(f"ollama-push-{name}_") for thread in threading.enumerate())


class Vault:
    """A source that waits until it is opened."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.open = threading.Event()
        self._error = error

    def find(self, host: str, /) -> Credential | None:
        self.asked.append(host)
        assert self.open.wait(PATIENCE)
        if self._error is not None:
            raise self._error
        return LOGIN


def test_work_that_waits_holds_up_no_other_kind() -> None:
    async def story() -> None:
        lanes, vault, hold = Lanes(), Vault(), threading.Event()
        with lanes.in_use():
            waiting: list[asyncio.Future[Any]] = [
                *(asyncio.ensure_future(lanes.credential(vault, f"host{number}")) for number in range(50)),
                *(lanes.hashing.start(hold.wait, PATIENCE) for _ in range(50)),
                *(lanes.resume.start(hold.wait, PATIENCE) for _ in range(50)),
            ]
            assert await lanes.store.run(sum, (1, 2)) == 3
            assert await asyncio.to_thread(sum, (1, 2)) == 3
            assert (threads_of("credentials"), threads_of("hashing"), threads_of("resume")) == (16, 2, 1)
            vault.open.set()
            hold.set()
            await asyncio.gather(*waiting)

    run(story)


def test_who_asks_the_same_at_the_same_time_shares_one_look_up() -> None:
    async def story() -> None:
        lanes, vault, other = Lanes(), Vault(), Vault()
        other.open.set()
        with lanes.in_use():
            asked = [asyncio.ensure_future(lanes.credential(vault, "host")) for _ in range(30)]
            assert await lanes.credential(other, "host") == LOGIN  # of another source
            asked[0].cancel()  # takes nothing from the others
            vault.open.set()
            assert await asyncio.gather(*asked[1:]) == [LOGIN] * 29
            assert vault.asked == ["host"]
            await lanes.credential(vault, "host")
            assert vault.asked == ["host", "host"]

    run(story)


def test_an_error_reaches_everybody_who_asked_and_nobody_complains_when_none_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        lanes, vault = Lanes(), Vault(InvalidSetting("credentials", "vault", "it is sealed"))
        with lanes.in_use():
            asked = [asyncio.ensure_future(lanes.credential(vault, "host")) for _ in range(3)]
            vault.open.set()
            assert [type(end) for end in await asyncio.gather(*asked, return_exceptions=True)] == [InvalidSetting] * 3
            vault.open.clear()
            lonely = asyncio.ensure_future(lanes.credential(vault, "host"))
            await asyncio.sleep(0)
            lonely.cancel()
            await asyncio.wait([lonely])
            vault.open.set()
            await lanes.store.run(int)

    run(story)
    assert caplog.messages == []


def test_a_look_up_that_nobody_waits_for_is_not_given_to_those_who_come_later() -> None:
    async def story() -> None:
        lanes, vault = Lanes(), Vault()
        with lanes.in_use():
            lonely = asyncio.ensure_future(lanes.credential(vault, "host"))
            await asyncio.sleep(0)
            lonely.cancel()
            await asyncio.wait([lonely])
        with lanes.in_use():
            later = asyncio.ensure_future(lanes.credential(vault, "host"))
            await asyncio.sleep(0)
            vault.open.set()
            assert await later == LOGIN

    run(story)


def test_idle_threads_end_with_the_last_user_and_busy_ones_after_their_work() -> None:
    async def story() -> None:
        lanes, hold = Lanes(), threading.Event()
        with lanes.in_use():
            with lanes.in_use():
                await lanes.store.run(int)
                busy = lanes.hashing.start(hold.wait, PATIENCE)
            assert threads_of("store") == 1
        assert (threads_of("store"), threads_of("hashing")) == (0, 1)
        (thread,) = (each for each in threading.enumerate() if each.name.startswith("ollama-push-hashing_"))
        hold.set()
        assert await busy
        await asyncio.to_thread(thread.join)
        with lanes.in_use():
            assert await lanes.hashing.run(int) == 0

    run(story)


def test_work_that_was_not_begun_is_withdrawn_and_the_rest_keeps_its_order() -> None:
    async def story() -> None:
        lane, hold, done = Lane("test", 1), threading.Event(), list[int]()
        first = lane.start(hold.wait, PATIENCE)
        rest = [lane.start(done.append, number) for number in range(5)]
        rest[2].cancel()
        await asyncio.sleep(0)  # asyncio passes the cancel on to the thread's future in the next iteration
        lane.retire()
        hold.set()
        await asyncio.gather(first, *rest, return_exceptions=True)
        assert done == [0, 1, 3, 4]

    run(story)
