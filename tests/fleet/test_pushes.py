"""What replicas of a gateway share in a real Redis: the limit on pushes, and the list of the status page."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, Final

import attrs
import pytest
from tests.support.redis_server import RedisServer, needs_redis

from ollama_push.core.events import LayerProgress, PushPlanned
from ollama_push.core.observations import PushOutcome
from ollama_push.fleet import RedisPushes
from ollama_push.gateway.push_history import PushHistory, PushRecord
from ollama_push.gateway.replicas import Replicas, SharedPushes
from ollama_push.gateway.status_page.feed import StatusFeed, counts_text, title_text

pytestmark = [pytest.mark.process, needs_redis]

_PATIENCE_SECONDS: Final = 60.0
_TARGET: Final = "https://registry.example.com"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.client().flushall()
    return shared


def test_no_more_pushes_run_in_all_replicas_than_may(server: RedisServer) -> None:
    one, two = RedisPushes(server.url), RedisPushes(server.url)
    assert [one.admit(1, 3), two.admit(1, 3), one.admit(2, 3)] == [True, True, True]
    assert not two.admit(2, 3)
    one.leave(1)
    assert two.admit(3, 3)
    assert not one.admit(4, 3)


def test_what_a_replica_that_died_had_is_free_after_its_lease(server: RedisServer) -> None:
    gone, other = RedisPushes(server.url, lease_seconds=0.3), RedisPushes(server.url)
    assert gone.admit(1, 1)
    gone.exchange("what it shows")

    def is_free() -> bool:
        return other.admit(1, 1)

    _until(is_free)
    assert other.exchange("") == {}


def test_a_replica_that_lives_keeps_what_it_has(server: RedisServer) -> None:
    alive, other = RedisPushes(server.url, lease_seconds=3.0), RedisPushes(server.url)
    alive.admit(1, 1)
    over = time.monotonic() + 3.5
    while time.monotonic() < over:
        alive.exchange("shown")
        assert not other.admit(1, 1)
        _pause(0.1)
    assert other.exchange("") == {alive.name: "shown"}


def test_a_replica_that_ends_takes_back_what_it_has(server: RedisServer) -> None:
    one, other = RedisPushes(server.url), RedisPushes(server.url)
    one.admit(1, 1)
    one.exchange("shown")
    one.close()
    assert other.admit(1, 1)
    assert other.exchange("") == {}


def test_without_a_server_each_replica_is_alone_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    pushes = RedisPushes("redis://:s3cret@127.0.0.1:1/0")
    assert pushes.admit(1, 1)
    assert pushes.admit(2, 1)
    assert pushes.exchange("shown") == {}
    pushes.leave(1)
    pushes.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "replicas are not known by redis://127.0.0.1:1/0: it cannot be reached; each has its own limit of pushes"
    )
    assert "s3cret" not in repr(pushes)


def test_no_key_stays_for_ever(server: RedisServer) -> None:
    pushes = RedisPushes(server.url)
    pushes.admit(1, 1)
    pushes.exchange("shown")
    client = server.client()
    assert client.dbsize() == 3
    assert all(0 < client.pttl(key) <= 10_000 for key in map(str, client.scan_iter()))


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        _pause(0.05)
    pytest.fail("it never came")


def _pause(seconds: float) -> None:
    asyncio.run(asyncio.sleep(seconds))


def _run(story: Callable[[PushHistory, PushHistory], Coroutine[Any, Any, None]], server: RedisServer) -> None:
    """Run *story* with the histories of two replicas that meet."""

    async def run() -> None:
        one, two = PushHistory(), PushHistory()
        async with (
            Replicas(RedisPushes(server.url, lease_seconds=30.0), one, 0.05).meeting(),
            Replicas(RedisPushes(server.url, lease_seconds=30.0), two, 0.05).meeting(),
            asyncio.timeout(_PATIENCE_SECONDS),
        ):
            await story(one, two)

    asyncio.run(run())


async def _see(history: PushHistory, holds: Callable[[tuple[PushRecord, ...]], object]) -> tuple[PushRecord, ...]:
    async with aclosing(history.subscribe(0.01, 0.1)) as news:
        async for _changed in news:
            if holds(history.records()):
                break
    return history.records()


def test_each_replica_shows_the_pushes_of_all(server: RedisServer) -> None:
    async def story(one: PushHistory, two: PushHistory) -> None:
        push = one.begin("team/a:latest", _TARGET)
        assert push is not None
        push.receive_event(PushPlanned(100))
        push.receive_event(LayerProgress("sha256:ab", 100, 40))
        (seen,) = await _see(two, lambda records: records and records[0].progress.completed_bytes == 40)
        assert (seen.model, seen.target, seen.outcome) == ("team/a:latest", _TARGET, None)
        assert seen.progress.layers == one.records()[0].progress.layers
        assert seen.id != push.id
        assert seen.id < 2**53, "a page counts no further"
        assert (two.running, two.running_everywhere) == (0, 1)
        assert title_text(two) == "(1) ollama-push gateway"
        assert counts_text(two).startswith("1 running, ")
        own = two.begin("team/b:latest", _TARGET)
        assert own is not None
        await _see(one, lambda records: len(records) == 2)
        assert [record.model for record in one.records()] == ["team/b:latest", "team/a:latest"]
        push.finish(PushOutcome.FAILED, "no room")
        await _see(two, lambda records: records[-1].outcome is PushOutcome.FAILED)
        assert two.records()[-1].error == "no room"
        assert [record.id for record in two.own_records()] == [own.id]
        assert two.running_everywhere == 1

    _run(story, server)


def test_the_page_is_told_of_changes_elsewhere(server: RedisServer) -> None:
    async def story(one: PushHistory, two: PushHistory) -> None:
        feed = StatusFeed(two, asyncio.get_running_loop().time, 60.0)
        push, places = one.begin("team/a:latest", _TARGET), list[str]()
        assert push is not None
        async with aclosing(two.subscribe(0.01, 60.0)) as news:
            async for records in news:
                message = (feed.next_message(records) or b"").decode()
                data = json.loads(message.partition("data: ")[2]) if "data: " in message else {"pushes": []}
                places += [item["place"] for item in data["pushes"] if "team/a" in item["html"]]
                if "now" in places:
                    push.finish(PushOutcome.SUCCEEDED)
                if "lately" in places:
                    break
        assert places[-1] == "lately"

    _run(story, server)


def test_a_push_of_a_replica_that_is_gone_has_ended(server: RedisServer) -> None:
    async def story(one: PushHistory, two: PushHistory) -> None:
        dead = RedisPushes(server.url, lease_seconds=3.0)
        history = PushHistory()
        history.begin("team/lost:latest", _TARGET)
        shown = Replicas(dead, history)._shown()
        dead.exchange(shown)
        await _see(two, lambda records: records and records[0].is_running)
        (seen,) = await _see(two, lambda records: records and not records[0].is_running)
        assert seen.outcome is PushOutcome.CANCELLED
        assert "its replica of the gateway is gone" in seen.error
        assert two.running_everywhere == 0

    _run(story, server)


@pytest.mark.parametrize(
    "shown", ["", "{", "[]", '{"version":2,"records":[],"running":1}', '{"version":1,"records":[{}]}']
)
def test_what_a_replica_of_another_version_shows_is_left_out(shown: str, server: RedisServer) -> None:
    async def story(one: PushHistory, two: PushHistory) -> None:
        RedisPushes(server.url).exchange(shown)
        push = one.begin("team/a:latest", _TARGET)
        assert push is not None
        (seen,) = await _see(two, lambda records: records)
        assert seen.model == "team/a:latest"

    _run(story, server)


def test_a_push_with_many_layers_is_shown_with_some(server: RedisServer) -> None:
    async def story(one: PushHistory, two: PushHistory) -> None:
        push = one.begin("team/a:latest", _TARGET)
        assert push is not None
        for number in range(300):
            push.receive_event(LayerProgress(f"sha256:{number}", 10, 10 if number < 250 else 5))
        (seen,) = await _see(two, lambda records: records and records[0].progress.layers)
        assert len(seen.progress.layers) == 100
        assert sum(layer.completed_bytes == 5 for layer in seen.progress.layers) == 50

    _run(story, server)


@attrs.define
class _Place:
    """A place that admits nobody, or everybody."""

    admits: bool
    left: list[int] = attrs.field(factory=list)

    def admit(self, _push: int, _limit: int) -> bool:
        return self.admits

    def leave(self, push: int) -> None:
        self.left.append(push)

    def exchange(self, _shown: str) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


@pytest.mark.parametrize("admits", [True, False])
def test_a_push_is_counted_out_if_it_was_counted_in(admits: bool) -> None:  # noqa: FBT001 - parametrized
    place = _Place(admits)
    shared: SharedPushes = place

    async def run() -> None:
        replicas = Replicas(shared, PushHistory())
        async with replicas.meeting(), replicas.admitted() as may_run:
            assert may_run is admits
            assert place.left == []

    asyncio.run(run())
    assert place.left == ([1] if admits else [])
