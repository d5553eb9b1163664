"""Whoever leaves hangs up at once: the server sees it, hooks are told, nothing stays open."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Final

import pytest

from ollama_push import AsyncPushClient, PushClient
from ollama_push.core.observations import Observation, PushFinished, PushOutcome
from ollama_push.testing.server import Hold, Script, ScriptedServer, lines_answer

ENDLESS: Final[Script] = (*lines_answer([b'{"status":"retrieving manifest"}'], end=False), Hold())
SILENT: Final[Script] = (Hold(),)
PATIENCE: Final = 5.0


class Mine(Exception):
    """An error of the caller's own."""


def outcomes(seen: list[Observation]) -> list[PushOutcome]:
    return [one.outcome for one in seen if isinstance(one, PushFinished)]


@pytest.mark.parametrize("how", ["return", "break", "raise"])
def test_leaving_the_sync_block_hangs_up(how: str) -> None:
    seen: list[Observation] = []
    with ScriptedServer(ENDLESS) as server, PushClient(server.url, hooks=[seen.append]) as client:
        kept = None
        try:
            with client.stream("a/b") as events:
                kept = events  # still referenced: garbage collection is not what hangs up
                for _ in events:
                    if how == "raise":
                        raise Mine
                    break
        except Mine:
            assert how == "raise"
        assert server.peer_closed.wait(PATIENCE)
        assert kept is not None
    assert outcomes(seen) == [PushOutcome.CANCELLED]


@pytest.mark.parametrize("how", ["break", "raise"])
def test_leaving_the_async_block_hangs_up(how: str) -> None:
    seen: list[Observation] = []

    async def run(url: str) -> None:
        async with AsyncPushClient(url, hooks=[seen.append]) as client:
            async with client.stream("a/b") as events:
                async for _ in events:
                    if how == "raise":
                        raise Mine
                    break
            await asyncio.sleep(0)
            assert await asyncio.to_thread(server.peer_closed.wait, PATIENCE)

    with ScriptedServer(ENDLESS) as server:
        try:
            asyncio.run(run(server.url))
        except Mine:
            assert how == "raise"
        assert server.peer_closed.wait(PATIENCE)
    assert outcomes(seen) == [PushOutcome.CANCELLED]


@pytest.mark.parametrize("script", [ENDLESS, SILENT], ids=["in the stream", "before the head"])
def test_cancelling_the_task_hangs_up(script: Script) -> None:
    seen: list[Observation] = []

    async def run(url: str) -> None:
        async with AsyncPushClient(url, hooks=[seen.append]) as client:
            task = asyncio.create_task(client.push("a/b"))
            assert await asyncio.to_thread(server.wait_for_request, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.peer_closed.wait, PATIENCE)

    with ScriptedServer(script) as server:
        asyncio.run(asyncio.wait_for(run(server.url), 20))
    assert outcomes(seen) == [PushOutcome.CANCELLED]


PROGRAM: Final = """
import sys
from ollama_push import PushClient
with PushClient(sys.argv[1]) as client, client.stream("a/b") as events:
    for event in events:
        print(event.status, flush=True)
"""


def test_ctrl_c_in_a_program_hangs_up() -> None:
    with ScriptedServer(ENDLESS) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "retrieving manifest\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert server.peer_closed.wait(PATIENCE)
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_a_stream_that_is_never_entered_sends_and_tells_nothing() -> None:
    seen: list[Observation] = []
    with ScriptedServer(ENDLESS) as server, PushClient(server.url, hooks=[seen.append]) as client:
        client.stream("a/b")
        assert (server.accepted, seen) == (0, [])
