"""Pushes one model in a process of its own, which may be killed: ``python push_worker.py SETTINGS-AS-JSON``.

SIGINT and SIGTERM end the push at the end of its part, as the command does it. What it says is one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.errors import PushInterrupted
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.retry import RetryPolicy
from ollama_push.fleet import RedisResumeStore
from ollama_push.local import FileResumeStore


def resume_store(asked: dict[str, Any]) -> ResumeStore:
    if asked["redis"] is None:
        return FileResumeStore(Path(asked["uploads"]))
    return RedisResumeStore(asked["redis"], lease_seconds=asked["lease_seconds"])


def settings(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "store": asked["store"],
        "credentials": ("ann", "s3cret-of-ann"),
        "plain_http": True,
        "resume": resume_store(asked),
        "part_bytes": asked["part_bytes"],
        "concurrency": 1,
        "retry": RetryPolicy(base=0.05),
    }


def listen_to_signals(client: RegistryClient | AsyncRegistryClient, noticed: int | None) -> None:
    """Interrupt *client* at a signal, and then write a byte to the descriptor *noticed*."""

    def interrupt(*_: object) -> None:
        client.interrupt()
        if noticed is not None:
            os.write(noticed, b".")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def push(asked: dict[str, Any]) -> PushReceipt:
    with RegistryClient(**settings(asked)) as client:
        listen_to_signals(client, asked["noticed"])
        return client.push(asked["name"], source="my-llama")


async def push_async(asked: dict[str, Any]) -> PushReceipt:
    async with AsyncRegistryClient(**settings(asked)) as client:
        listen_to_signals(client, asked["noticed"])
        return await client.push(asked["name"], source="my-llama")


def main(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        receipt = asyncio.run(push_async(asked)) if asked["asynchronous"] else push(asked)
    except PushInterrupted as stop:
        return {"interrupted": True, "kept_bytes": stop.kept_bytes}
    return {
        "interrupted": False,
        "sent_bytes": receipt.sent_bytes,
        "resumed_bytes": receipt.resumed_bytes,
        "skipped_bytes": receipt.skipped_bytes,
        "verified": receipt.verified,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
