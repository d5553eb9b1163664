"""Many pushes at once: every verdict right, and nothing left open behind them."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from ollama_push import AsyncPushClient, PushClient, PushRejected, RetryPolicy, StreamTruncated
from ollama_push.core.errors import ServerError
from ollama_push.testing.server import Script, ScriptedServer, json_answer, lines_answer

pytestmark = pytest.mark.slow

LAYER: Final = b'{"status":"pushing a","digest":"sha256:a","total":9,"completed":9}'
SCRIPTS: Final[tuple[Script, ...]] = (
    lines_answer([b'{"status":"retrieving manifest"}', LAYER, b'{"status":"success"}']),
    lines_answer([LAYER, b'{"error":"unauthorized: access denied"}']),
    lines_answer([LAYER]),
    json_answer(b'{"error":"model is required"}', 400),
)
ENDS: Final = ("PushReceipt", PushRejected.__name__, StreamTruncated.__name__, ServerError.__name__)
ONCE: Final = RetryPolicy(attempts=1)
MANY: Final = 1000


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def push_many(url: str, count: int) -> list[str]:
    async with AsyncPushClient(url, retry=ONCE) as client:

        async def one() -> str:
            try:
                return type(await client.push("a/b")).__name__
            except (PushRejected, StreamTruncated, ServerError) as exc:
                return type(exc).__name__

        ends = await asyncio.gather(*(one() for _ in range(count)))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return list(ends)


def test_a_thousand_async_pushes_end_right_and_leave_nothing() -> None:
    gc.collect()
    before = open_files(), threading.active_count()
    with ScriptedServer(*(SCRIPTS[number % len(SCRIPTS)] for number in range(MANY))) as server:
        ends = asyncio.run(push_many(server.url, MANY))
        assert server.wait_for_open(0, 10)
        assert server.accepted == MANY
    assert {end: ends.count(end) for end in ENDS} == dict.fromkeys(ENDS, MANY // len(ENDS))
    gc.collect()
    assert (open_files(), threading.active_count()) == before


def test_fifty_threads_may_share_one_client() -> None:
    with ScriptedServer(SCRIPTS[0]) as server, PushClient(server.url, retry=ONCE) as client:
        with ThreadPoolExecutor(50) as threads:
            receipts = list(threads.map(lambda number: client.push(f"a/b{number}"), range(50)))
        assert {receipt.model for receipt in receipts} == {f"a/b{number}:latest" for number in range(50)}
        assert server.accepted == 50
