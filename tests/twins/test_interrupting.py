"""Whoever has a client can end what runs in it: from another thread, a task, or a signal handler."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.blobs import MIB
from tests.support.direct_push import PATIENCE, Direct, settings, stored

from ollama_push import AsyncPushClient, AsyncRegistryClient, PushClient, RegistryClient, RetryPolicy
from ollama_push.core.errors import PushInterrupted, UsedAfterClose
from ollama_push.core.observations import AttemptFailed, AttemptStarted, Observation, PushFinished, PushOutcome
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall
from ollama_push.testing.server import Hangup, Hold, Script, ScriptedServer, Step, chunk, lines_answer
from ollama_push.transports import Urllib3Transport

LINE: Final = b'{"status":"pushing manifest"}'
SILENT: Final[Script] = (Hold(),)
ENDLESS: Final[Script] = (*lines_answer([LINE], end=False), Hold())
TICK: Final[tuple[Step, ...]] = (Hold(0.02), chunk(LINE + b"\n"))
CHATTY: Final[Script] = (*lines_answer([LINE], end=False), *TICK * 2000)
LOST: Final[Script] = (Hangup(),)
SCRIPTS: Final = (SILENT, ENDLESS, CHATTY, LOST)
IDS: Final = ("no answer", "silence", "lines", "between attempts")
LATER: Final = RetryPolicy(attempts=3, base=100, cap=100)
WAYS: Final = ("interrupt", "close")


class Stage:
    """A server and what a client of it saw; the push is under way when ``reached`` is set."""

    def __init__(self, server: ScriptedServer, script: Script) -> None:
        self.server, self.script = server, script
        self.seen: list[Observation] = []
        self.reached = threading.Event()
        self.options: dict[str, Any] = {"host": server.url, "hooks": [self.hook], "retry": LATER}

    def hook(self, observation: Observation) -> None:
        self.seen.append(observation)
        last = AttemptFailed if self.script is LOST else AttemptStarted
        if isinstance(observation, last):
            self.reached.set()

    def wait(self) -> None:
        assert self.reached.wait(PATIENCE)
        assert self.server.wait_for_request(PATIENCE)

    def require_interrupted(self, error: BaseException | None) -> None:
        assert type(error) is PushInterrupted
        finished = self.seen[-1]
        assert isinstance(finished, PushFinished)
        assert (finished.outcome, finished.error) == (PushOutcome.CANCELLED, error)
        assert finished.elapsed < PATIENCE
        assert self.server.wait_for_open(0, PATIENCE)
        assert self.server.accepted == 1


@contextmanager
def staged(script: Script) -> Iterator[Stage]:
    with ScriptedServer(script) as server:
        yield Stage(server, script)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_a_push_in_another_thread_ends(script: Script, way: str) -> None:
    with staged(script) as stage, PushClient(**stage.options) as client, ThreadPoolExecutor(1) as pool:
        push: Future[object] = pool.submit(client.push, "a/b")
        stage.wait()
        getattr(client, way)()
        stage.require_interrupted(push.exception(PATIENCE))
        if way == "close":
            with pytest.raises(UsedAfterClose):
                client.push("a/b")


@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_a_push_is_ended_by_a_signal_handler_of_its_own_thread(script: Script) -> None:
    with staged(script) as stage, PushClient(**stage.options) as client:
        main, over = threading.get_ident(), threading.Event()

        def send() -> None:
            stage.wait()
            while not over.wait(0.02):
                signal.pthread_kill(main, signal.SIGUSR1)

        before = signal.signal(signal.SIGUSR1, lambda *_: client.interrupt())
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            with pytest.raises(PushInterrupted) as caught:
                client.push("a/b")
        finally:
            over.set()
            sender.join()
            signal.signal(signal.SIGUSR1, before)
        stage.require_interrupted(caught.value)


@pytest.mark.parametrize("way", [*WAYS, "interrupt from a thread"])
@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_a_push_in_another_task_ends(script: Script, way: str) -> None:
    async def run(stage: Stage) -> BaseException | None:
        async with AsyncPushClient(**stage.options) as client:
            task = asyncio.create_task(client.push("a/b"))
            await asyncio.to_thread(stage.wait)
            if way == "close":
                await client.aclose()
            elif way == "interrupt":
                client.interrupt()
            else:
                await asyncio.to_thread(client.interrupt)
            (result,) = await asyncio.gather(task, return_exceptions=True)
            assert not task.cancelling()
            return result if isinstance(result, BaseException) else None

    with staged(script) as stage:
        stage.require_interrupted(asyncio.run(asyncio.wait_for(run(stage), PATIENCE)))


def test_a_task_that_is_cancelled_too_is_cancelled() -> None:
    async def run(stage: Stage) -> bool:
        async with AsyncPushClient(**stage.options) as client:
            task = asyncio.create_task(client.push("a/b"))
            await asyncio.to_thread(stage.wait)
            client.interrupt()
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    with staged(SILENT) as stage:
        assert asyncio.run(asyncio.wait_for(run(stage), PATIENCE))


@pytest.mark.parametrize("way", WAYS)
def test_a_check_ends_too(way: str) -> None:
    async def run(stage: Stage) -> None:
        async with AsyncPushClient(stage.server.url) as client:
            task = asyncio.create_task(client.check("a/b"))
            await asyncio.to_thread(stage.server.wait_for_request, PATIENCE)
            if way == "close":
                await client.aclose()
            else:
                client.interrupt()
            await task

    with staged(SILENT) as stage, PushClient(stage.server.url) as client, ThreadPoolExecutor(1) as pool:
        check: Future[object] = pool.submit(client.check, "a/b")
        assert stage.server.wait_for_request(PATIENCE)
        getattr(client, way)()
        assert type(check.exception(PATIENCE)) is PushInterrupted
    with staged(SILENT) as stage, pytest.raises(PushInterrupted):
        asyncio.run(asyncio.wait_for(run(stage), PATIENCE))


def test_events_that_nobody_takes_end_when_somebody_does() -> None:
    with staged(ENDLESS) as stage, PushClient(**stage.options) as client:
        with client.stream("a/b") as events:
            next(events)
            client.interrupt()
            assert stage.server.wait_for_open(0, PATIENCE)
            with pytest.raises(PushInterrupted) as caught:
                next(events)
        stage.require_interrupted(caught.value)


def test_a_stream_that_is_entered_after_the_end_sends_nothing() -> None:
    with staged(ENDLESS) as stage, PushClient(**stage.options) as client, client.stream("a/b") as events:
        client.close()
        with pytest.raises(UsedAfterClose):
            next(events)
        assert stage.server.accepted == 0


def test_interrupting_what_does_not_run_does_nothing() -> None:
    with staged(lines_answer([b'{"status":"success"}'])) as stage, PushClient(stage.server.url) as client:
        client.interrupt()
        assert client.push("a/b").attempts == 1
        client.interrupt()


class Slow(Urllib3Transport):
    """A transport that is interrupted between ``open`` and the block."""

    def __init__(self, between: Callable[[], None]) -> None:
        super().__init__()
        self._between = between

    def open(self, request: HttpRequest, /) -> Any:
        opening = super().open(request)
        self._between()
        return opening


def test_there_is_no_moment_in_which_an_interruption_comes_too_early() -> None:
    clients: list[PushClient] = []

    def interrupt() -> None:
        clients[0].interrupt()

    with staged(SILENT) as stage, Slow(interrupt) as transport:
        clients.append(client := PushClient(**stage.options, transport=transport))
        with pytest.raises(PushInterrupted):
            client.push("a/b")
        assert stage.server.accepted == 0


STALL: Final = Fault("PATCH", after_bytes=MIB // 2, action=Stall(60.0))


def half_way(registry: EmbeddedRegistry) -> None:
    assert registry.wait_until(lambda: registry.received_bytes >= MIB // 2, PATIENCE)


def test_closing_a_registry_client_ends_its_pushes(tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=[STALL]) as registry, ThreadPoolExecutor(1) as pool:
        asked = Direct(host=registry.host, home=tmp_path)
        seen: list[Observation] = []
        with RegistryClient(**settings(asked, [seen.append])) as client:
            push: Future[object] = pool.submit(client.push, asked.name, source=asked.source)
            half_way(registry)
        assert isinstance(push.exception(PATIENCE), PushInterrupted)
        assert isinstance(seen[-1], PushFinished)
        assert seen[-1].outcome is PushOutcome.CANCELLED
        with pytest.raises(UsedAfterClose):
            client.push(asked.name, source=asked.source)


def test_closing_an_async_registry_client_ends_its_pushes(tmp_path: Path) -> None:
    stored(tmp_path)

    async def run(registry: EmbeddedRegistry) -> object:
        asked = Direct(host=registry.host, home=tmp_path)
        async with AsyncRegistryClient(**settings(asked, [])) as client:
            task = asyncio.create_task(client.push(asked.name, source=asked.source))
            await asyncio.to_thread(half_way, registry)
        (result,) = await asyncio.gather(task, return_exceptions=True)
        return result

    with EmbeddedRegistry(tmp_path / "registry", faults=[STALL]) as registry:
        ended = asyncio.run(asyncio.wait_for(run(registry), PATIENCE))
    assert isinstance(ended, PushInterrupted)
