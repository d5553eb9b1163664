"""What both flow runners leave to one place: which failure counts, and what must leave the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any, Final

import attrs
import pytest

from ollama_push.client._flow_context import FlowContext, GatheredFlows, StopSignal
from ollama_push.client._flow_runner_async import AsyncFlowRunner, AsyncUploadLocks
from ollama_push.client._lanes import Lanes
from ollama_push.client._registry_arguments import RegistrySettings
from ollama_push.client._registry_factory import FlowFactory
from ollama_push.core.errors import ConnectionLost, OllamaPushError, PushInterrupted
from ollama_push.core.registry.credentials import Credential
from ollama_push.core.registry.effects import (
    ClaimUpload,
    Effect,
    FindCredential,
    Flow,
    ForgetResumePoint,
    Gather,
    ReleaseUpload,
    SaveResumePoint,
)
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.core.retry import RetryPolicy
from ollama_push.transports import AiohttpTransport

KEY: Final = UploadKey("http://h:5000", "a/b", "sha256:ab")
LOST: Final = ConnectionLost("http://h:5000")
INTERRUPTED: Final = PushInterrupted()


def flows_of(count: int) -> Gather[int]:
    def flow(number: int) -> Flow[int]:
        yield from ()
        return number

    return Gather([flow(number) for number in range(count)], 2)


@pytest.mark.parametrize("failures", [[INTERRUPTED, LOST], [LOST, INTERRUPTED], [LOST, ConnectionLost("http://x")]])
def test_the_reason_counts_and_not_those_who_were_only_interrupted(failures: list[OllamaPushError]) -> None:
    flows = GatheredFlows(flows_of(2), StopSignal())
    assert len(list(flows.take())) == 2
    flows.failures += failures
    with pytest.raises(ConnectionLost) as caught:
        flows.results()
    assert caught.value is LOST


def test_flows_that_were_never_started_are_an_interruption() -> None:
    stop = StopSignal()
    flows = GatheredFlows(flows_of(3), stop)
    taken = flows.take()
    assert next(taken)[0] == 0
    stop.interrupted = True
    assert list(taken) == []
    with pytest.raises(PushInterrupted):
        flows.results()


def test_results_come_in_the_order_of_the_flows() -> None:
    flows = GatheredFlows(flows_of(3), StopSignal())
    assert flows.workers == 2
    for index, _flow in flows.take():
        flows.returned[index] = index
    assert flows.results() == [0, 1, 2]


class Threads:
    """Credentials and a resume store that note in which thread they are asked."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def find(self, _host: str, /) -> Credential | None:
        self.of["find"] = threading.get_ident()
        return None

    def claim(self, _key: UploadKey, /) -> ResumePoint | None:
        self.of["claim"] = threading.get_ident()
        return None

    def save(self, _key: UploadKey, _upload: ResumePoint, /) -> None:
        self.of["save"] = threading.get_ident()

    def forget(self, _key: UploadKey, /) -> None:
        self.of["forget"] = threading.get_ident()

    def release(self, _key: UploadKey, /) -> None:
        self.of["release"] = threading.get_ident()


def context_of(threads: Threads, *effects: Effect) -> FlowContext[Any]:
    def flow() -> Generator[Effect, Any, bool]:
        for effect in effects:  # noqa: UP028 - a tuple's iterator takes no results
            yield effect
        return True

    settings = RegistrySettings(
        store="/nonexistent",
        credentials=threads,
        hooks=(),
        retry=RetryPolicy(),
        concurrency=1,
        resume=threads,
        part_bytes=None,
        stall_timeout=None,
        plain_http=True,
        verify=False,
    )
    return attrs.evolve(FlowFactory(settings).login("h:5000"), flow=flow())


def test_nothing_that_may_block_is_done_on_the_event_loop() -> None:
    threads, point = Threads(), ResumePoint("http://h:5000/u")
    effects = (
        FindCredential("h:5000"),
        ClaimUpload(KEY),
        SaveResumePoint(KEY, point),
        ForgetResumePoint(KEY),
        ReleaseUpload(KEY),
    )

    async def main() -> None:
        async with AiohttpTransport() as transport:
            runner = AsyncFlowRunner(context_of(threads, *effects), transport, AsyncUploadLocks(), Lanes())
            assert [notice async for notice in runner.notices()] == []
            assert runner.result

    asyncio.run(main())
    assert threading.get_ident() not in threads.of.values()
    assert set(threads.of) == {"find", "claim", "save", "forget", "release"}


def test_what_is_for_the_driver_is_no_effect_on_this_machine() -> None:
    context = context_of(Threads())
    with pytest.raises(TypeError, match="for the driver"):
        context.perform(flows_of(0))
