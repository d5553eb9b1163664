"""Machines that share a Redis, and a registry that is ill: one finds out, others learn it, and one of all tries."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import pytest
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stores import put_model

from ollama_push import AsyncRegistryClient, RegistryClient, RetryPolicy
from ollama_push.core.observations import Observation, PauseReason, RequestPaused, RequestRetried
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.breaker import BreakerState, Sighting, look, open_breaker
from ollama_push.fleet import RedisResumeStore
from ollama_push.fleet.breakers import RedisBreakerStore
from ollama_push.fleet.connection import RedisProblem
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply, Stall
from ollama_push.testing.registry.seen import Seen

pytestmark = [pytest.mark.process, needs_redis]

_WORKER: Final = Path(__file__).parents[1] / "support" / "fleet_worker.py"
_PATIENCE_SECONDS: Final = 60.0
_FAILING: Final = Fault("POST", path="/blobs/uploads/", times=5, action=Reply(500))
_PASSWORD: Final = "correct-horse"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    put_model(tmp_path / "models", "registry.ollama.ai/library/m/latest", (b"weights" * 100,))
    return tmp_path / "models"


class _Machine:
    """A process that pushes when it is asked to."""

    def __init__(self, models: Path, server: RedisServer) -> None:
        settings = {"store": str(models), "redis": server.url}
        self.process = subprocess.Popen(
            [sys.executable, str(_WORKER), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, model: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{model}\n")
        self.process.stdin.flush()

    def said(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def __enter__(self) -> Self:
        assert self.said() == {"ready": True}
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.communicate()


def _known(server: RedisServer, registry: EmbeddedRegistry) -> Sighting:
    seen = RedisResumeStore(server.url).breakers.change(registry.host, look)
    assert seen is not None
    return seen


def _pause(server: RedisServer, registry: EmbeddedRegistry, seconds: float) -> None:
    """Let the pause of *registry* end in so many seconds."""
    RedisResumeStore(server.url).breakers.change(registry.host, lambda _known, now: BreakerState(1, now + seconds))


def _until(registry: EmbeddedRegistry, number: int) -> list[Seen]:
    """Wait for the requests after the first *number*; return them."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(registry.requests) <= number:
        assert time.monotonic() < deadline, "nobody asks"
        time.sleep(0.01)
    return list(registry.requests[number:])


@pytest.mark.slow
def test_others_learn_that_a_registry_is_ill_and_one_of_all_tries(
    server: RedisServer, models: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        registry = stack.enter_context(EmbeddedRegistry(tmp_path / "registry", faults=[_FAILING]))
        first, second, third = (stack.enter_context(_Machine(models, server)) for _ in range(3))
        first.ask(f"{registry.host}/team/first")
        assert first.said()["error"] == "ServerError"
        assert _known(server, registry).state.pauses == 1
        _pause(server, registry, 2.0)
        registry.add_fault(Fault("GET", path="^/v2/$", action=Stall(2.0)))
        before = len(registry.requests)
        for machine in (second, third):
            machine.ask(f"{registry.host}/team/{machine.process.pid}")
        while (seen := _known(server, registry)).state.until > seen.now:
            assert len(registry.requests) == before, "the registry is left alone"
            time.sleep(0.05)
        # The request that tries takes two seconds: as long as it does, it is the only one.
        asked = _until(registry, before)
        while asked[0].status is None:
            assert [each.path for each in asked] == ["/v2/"]
            asked = _until(registry, before)
        for machine in (second, third):
            said = machine.said()
            assert said["verified"]
            assert "breaker" in said["paused"]
        assert not _known(server, registry).state.is_open
        assert server.client().dbsize() > 0, "the resume points"


@pytest.mark.slow
def test_the_turn_of_a_machine_that_is_killed_while_it_tries_ends(
    server: RedisServer, models: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        registry = stack.enter_context(EmbeddedRegistry(tmp_path / "registry"))
        first, second = (stack.enter_context(_Machine(models, server)) for _ in range(2))
        registry.add_fault(Fault("GET", path="^/v2/$", action=Stall(60.0)))
        _pause(server, registry, 0.0)
        first.ask(f"{registry.host}/team/first")
        assert [each.path for each in _until(registry, 0)] == ["/v2/"]
        second.ask(f"{registry.host}/team/second")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert _known(server, registry).state.prober, "it could not say that it ends"
        assert second.said() == {"verified": True, "paused": ["breaker"]}
        assert not _known(server, registry).state.is_open


def _settings(models: Path, server: RedisServer, hook: Callable[[Observation], None]) -> dict[str, Any]:
    return {
        "store": models,
        "plain_http": True,
        "credentials": ("a", "b"),
        "concurrency": 1,
        "resume": RedisResumeStore(server.url, timeout=0.5),
        "retry": RetryPolicy(attempts=10, base=0),
        "hooks": [hook],
    }


def _sync(model: str, **settings: Any) -> PushReceipt:
    with RegistryClient(**settings) as client:
        return client.push(model, source="m")


def _async(model: str, **settings: Any) -> PushReceipt:
    async def run() -> PushReceipt:
        async with AsyncRegistryClient(**settings) as client:
            return await client.push(model, source="m")

    return asyncio.run(run())


either_colour = pytest.mark.parametrize("push", [_sync, _async], ids=["sync", "async"])
Push = Callable[..., PushReceipt]


def _asked_about_breakers(server: RedisServer) -> int:
    client = server.client()
    commands = [str(entry["command"]) for entry in client.slowlog_get(10_000)]
    return sum("EVALSHA" in command and "breaker" in command for command in commands)


@either_colour
def test_a_healthy_push_asks_the_redis_once(push: Push, server: RedisServer, models: Path, tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        _known(server, registry)  # the server has the script
        server.client().config_set("slowlog-max-len", "100000")
        server.client().config_set("slowlog-log-slower-than", "0")
        model = f"{registry.host}/team/m"
        assert push(model, **_settings(models, server, lambda _seen: None)).verified
        assert len(registry.requests) > 10
    assert _asked_about_breakers(server) == 1


@either_colour
def test_what_one_client_has_found_another_one_is_spared(
    push: Push, server: RedisServer, models: Path, tmp_path: Path
) -> None:
    """The second one is not sent a single request in vain."""
    seen = list[Observation]()
    with EmbeddedRegistry(tmp_path / "registry", faults=[_FAILING]) as registry:
        assert push(f"{registry.host}/team/m", **_settings(models, server, seen.append)).verified
        assert sum(isinstance(each, RequestRetried) for each in seen) == 5
        assert not _known(server, registry).state.is_open
        _pause(server, registry, 0.5)
        seen.clear()
        assert push(f"{registry.host}/team/n", **_settings(models, server, seen.append)).verified
    assert [each.reason for each in seen if isinstance(each, RequestPaused)] == [PauseReason.BREAKER]
    assert not any(isinstance(each, RequestRetried) for each in seen)


_PROBLEMS: Final[dict[str, tuple[Callable[[RedisServer, str], object], str]]] = {
    "away": (lambda server, _key: server.kill(), "it cannot be reached"),
    "slow": (lambda server, _key: server.stop(), "it does not respond in time"),
    "full": (lambda server, _key: server.client().config_set("maxmemory", "1"), "it has no room left (maxmemory)"),
    "password": (
        lambda server, _key: server.client().config_set("requirepass", _PASSWORD),
        "it does not accept the user name or password",
    ),
    "version": (lambda server, key: server.client().set(key, '[2,"x"]'), "it holds keys of another version"),
    "type": (lambda server, key: server.client().hset(key, "a", "b"), "it holds keys of another version"),
    "text": (lambda server, key: server.client().set(key, "1, a text"), "it holds keys of another version"),
    "bytes": (lambda server, key: server.client().set(key, b"\xff"), "its responses are damaged"),
}


@pytest.mark.parametrize(
    ("problem", "push"),
    [
        pytest.param(problem, push, id=f"{problem}-{push.__name__.strip('_')}")
        for problem in _PROBLEMS
        for push in (_sync, _async)
    ],
)
def test_without_the_redis_each_machine_finds_out_alone_and_that_is_said_once(
    problem: str, push: Push, server: RedisServer, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_it, words = _PROBLEMS[problem]
    seen = list[Observation]()
    with EmbeddedRegistry(models.parent / "registry", faults=[_FAILING]) as registry:
        _pause(server, registry, 100.0)
        [key] = map(str, server.client().scan_iter())
        server.client().delete(key)
        break_it(server, key)
        assert push(f"{registry.host}/team/m", **_settings(models, server, seen.append)).verified
    assert [each.reason for each in seen if isinstance(each, RequestPaused)] == [PauseReason.BREAKER]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert words in warnings[0]


@either_colour
def test_a_redis_that_is_killed_and_comes_back_while_a_registry_is_ill(
    push: Push, server: RedisServer, models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 0

    def hook(observation: Observation) -> None:
        nonlocal failures
        failures += isinstance(observation, RequestRetried)
        if failures == 3 and isinstance(observation, RequestRetried):
            server.restart()

    with EmbeddedRegistry(tmp_path / "registry", faults=[_FAILING]) as registry:
        assert push(f"{registry.host}/team/m", **_settings(models, server, hook)).verified
        assert not _known(server, registry).state.is_open
    assert failures == 5
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1


@pytest.mark.parametrize("said", [[], ["", ""], ["", 1, 2], "text", 7, [7, "text"], {}])
def test_a_response_that_cannot_be_one_is_damaged(said: object) -> None:
    told: list[RedisProblem] = []
    store = RedisBreakerStore(lambda *_: said, told.append, "prefix")
    assert store.change("registry", look) is None
    assert told == [RedisProblem.DAMAGED]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "[1,2,3,4.0,5,6.0]",
        '[2,"x",1,1.0,"",0.0]',
        '[1,"x",0,1.0,"",0.0]',
        '[1,"x",1,1e999,"",0.0]',
        "null",
        "[",
        '[1,"x"]',
    ],
)
def test_a_text_of_another_version_is_left_alone(text: str) -> None:
    told: list[RedisProblem] = []
    store = RedisBreakerStore(lambda *_: [text, 1000], told.append, "prefix")
    assert store.change("registry", open_breaker(1.0)) is None
    assert told == [RedisProblem.OTHER_VERSION]


def test_who_is_never_first_goes_on_with_what_was_seen() -> None:
    """Every other one has changed something: it is no more than a moment old."""
    answers: list[object] = []

    def run(script: str, *_: object) -> object:
        answers.append(script)
        return 0 if "SET" in script else ["", -2]

    seen = RedisBreakerStore(run, lambda _problem: None, "prefix").change("registry", open_breaker(1.0))
    assert seen is not None
    assert not seen.state.is_open
    assert len(answers) == 200


def test_a_server_that_fails_between_both_scripts_is_away() -> None:
    def run(script: str, *_: object) -> object:
        return None if "SET" in script else ["", -2]

    assert RedisBreakerStore(run, lambda _problem: None, "prefix").change("registry", open_breaker(1.0)) is None
