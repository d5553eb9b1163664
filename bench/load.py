"""Many pushes at once through the gateway, and through a real Ollama where ``OLLAMA_BIN`` names one.

Also what runs in a process of its own: ``python -m bench.load serve STORE HOST PUSHES``.
"""

# ruff: noqa: PLC0415 - each process loads what it needs only

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
from bench.gateway import cpu_seconds
from bench.uploads import registry
from tests.support.real_ollama import OLLAMA, RealOllama
from tests.support.stores import put_model

__all__ = ["Load", "measure"]

_WEIGHTS_BYTES: Final = 512 * 1024


@attrs.frozen
class Load:
    """What many pushes at once cost who served them.

    Attributes:
        label: Who served them.
        wall: Seconds until the last one had its verdict.
        cpu: Processor time of the server for each push, in seconds.
        first_event: Seconds until the slowest push had its first event.
        succeeded: Pushes that ended in success.
        said: How another one ended; empty without any.
    """

    label: str
    wall: float
    cpu: float
    first_event: float
    succeeded: int
    said: str


def measure(pushes: int) -> Iterator[Load]:
    """Let *pushes* models be pushed at once to docker-registry, empty for each server."""
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        with registry(folder / "registry") as host:
            names = _models(folder / "models", host, pushes)
            with _gateway(folder / "models", host, pushes) as (port, pid):
                yield _measured("the gateway", port, pid, names)
        if not OLLAMA:
            return
        with registry(folder / "registry") as host:
            names = _models(folder / "theirs", host, pushes)
            with RealOllama(folder / "ollama", folder / "theirs") as ollama:
                yield _measured("a real Ollama", int(ollama.host.partition(":")[2]), ollama.pid, names)


def _models(store: Path, host: str, pushes: int) -> list[str]:
    # Tags of one repository: an Ollama that uploads a blob takes it for one of every other repository as well, and the
    # registry then refuses the manifests there.
    for number in range(pushes):
        weights = random.Random(number).randbytes(_WEIGHTS_BYTES)
        put_model(store, f"{host}/team/m/t{number}", (weights, f"template {number}".encode()))
    return [f"{host}/team/m:t{number}" for number in range(pushes)]


def _measured(label: str, port: int, pid: int, names: Sequence[str]) -> Load:
    before, began = cpu_seconds(pid), time.perf_counter()
    ends = asyncio.run(_push_all(f"http://127.0.0.1:{port}/api/push", names))
    wall, cpu = time.perf_counter() - began, cpu_seconds(pid) - before
    firsts = [first - began for first, _last in ends]
    failed = [str(last) for _first, last in ends if last != {"status": "success"}]
    return Load(label, wall, cpu / len(names), max(firsts), len(names) - len(failed), (*failed, "")[0])


async def _push_all(url: str, names: Sequence[str]) -> list[tuple[float, Any]]:
    """Push all at once; return when each had its first line, and what its last one says."""
    unlimited = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=unlimited) as session:

        async def push(name: str) -> tuple[float, Any]:
            async with session.post(url, json={"model": name, "insecure": True}) as response:
                line = await response.content.readline()
                first = time.perf_counter()
                while more := await response.content.readline():
                    line = more
                return first, json.loads(line)

        return await asyncio.gather(*map(push, names))


@contextmanager
def _gateway(store: Path, host: str, pushes: int) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "bench.load", "serve", str(store), host, str(pushes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def _serve(store: str, host: str, pushes: str) -> None:
    from ollama_push import NoResume
    from ollama_push.gateway import GatewaySettings
    from ollama_push.gateway.server import serve
    from ollama_push.local import ModelStore

    settings = GatewaySettings(
        store=ModelStore(store), default_registry=host, plain_http=True, resume=NoResume(), max_pushes=int(pushes)
    )
    asyncio.run(serve(settings, port=0, started=lambda _host, port: print(port, flush=True)))


if __name__ == "__main__":
    _serve(*sys.argv[2:])
