"""Runs a gateway in a process of its own, which may be killed: ``python run_gateway.py SETTINGS-AS-JSON``.

Says its port, and ends when its standard input does. Besides what every gateway serves it has ``/left``: which tasks
and threads there are, and how much memory is in use.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys
import threading
from pathlib import Path
from typing import Any

from aiohttp import web

from ollama_push.core.retry import RetryPolicy
from ollama_push.fleet import RedisPushes, RedisResumeStore
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.gateway.server import new_runner, new_site
from ollama_push.local import Credentials, FileResumeStore, ModelStore
from ollama_push.local.pull_key import pull_key

_LEASE_SECONDS = 1.0
_LIST_LEASE_SECONDS = 3.0


async def left(_request: web.Request) -> web.Response:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    names = sorted(task.get_coro().__qualname__ for task in tasks)  # type: ignore[union-attr]  # made by async def
    gc.collect()
    # What is free but was not given back would hide what leaks.
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _pad: None)(0)
    return web.json_response(
        {"tasks": names, "threads": threading.active_count(), "blocks": sys.getallocatedblocks(), "bytes": resident()}
    )


def resident() -> int:
    """Return the bytes of ``VmRSS``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024


def redis_store(url: str) -> RedisResumeStore:
    return RedisResumeStore(url, lease_seconds=_LEASE_SECONDS)


def settings(asked: dict[str, Any]) -> GatewaySettings:
    redis = asked.get("redis")
    return GatewaySettings(
        store=ModelStore(asked["store"]),
        resume=FileResumeStore(Path(asked["uploads"])) if redis is None else redis_store(redis),
        shared=None if redis is None else RedisPushes(redis, lease_seconds=_LIST_LEASE_SECONDS),
        credentials=Credentials(environ={}),
        default_registry=asked["default_registry"],
        plain_http=True,
        max_pushes=asked["max_pushes"],
        concurrency=asked["concurrency"],
        retry=RetryPolicy(base=0.05),
        pull_key=pull_key(Path(asked["uploads"]) / "pulls"),
    )


async def main(asked: dict[str, Any]) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    told = settings(asked)
    app = create_app(told)
    app.router.add_get("/left", left)
    runner = new_runner(app, told)
    try:
        await runner.setup()
        await new_site(runner, told, "127.0.0.1", asked["port"]).start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await ended.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
