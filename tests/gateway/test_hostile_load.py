"""Two thousand connections that only take room, beside honest pushes: nobody honest notices, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import random
import re
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.gateway_process import GatewayProcess, hostile_clients, wait_until
from tests.support.stores import CONFIG, put_model

from ollama_push.gateway import GatewaySettings
from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

_HOSTILE: Final = 2000
_PUSHES: Final = 20
_ROUNDS: Final = 3
_SLOWER: Final = 1.5
_FLOOR_SECONDS: Final = 1.0
"""What a busy machine may add to a round of about a second."""
_HEALTH_SECONDS: Final = 5.0
_WEIGHTS: Final = random.Random(9).randbytes(2 * MIB)
_PAGE: Final = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
_CONNECTIONS: Final = GatewaySettings().max_connections
_LEFT_BYTES: Final = 32 * MIB
"""Growth that may stay: what the allocator keeps of the connections' objects."""


def _name(number: int, group: str) -> str:
    return f"{group}/model{number}"


def _documented_bytes() -> int:
    found = re.search(r"at most (\d+) MiB of memory", _PAGE)
    assert found is not None
    return int(found[1]) * MIB


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store of the same models in as many namespaces as there are rounds."""
    root = tmp_path_factory.mktemp("store")
    named = [f"{kind}{number}" for kind in ("alone", "beside") for number in range(_ROUNDS)]
    for group in named:
        for number in range(_PUSHES):
            layers = _WEIGHTS, f"template {number}".encode()
            put_model(root, f"registry.ollama.ai/{_name(number, group)}/latest", layers)
    return root, named


async def _push_all(port: int, group: str) -> list[object]:
    """Push the models of *group* at once; return the last line of each response."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def push(number: int) -> object:
            async with session.post(f"http://127.0.0.1:{port}/api/push", json={"model": _name(number, group)}) as got:
                return [json.loads(line) async for line in got.content][-1]

        return await asyncio.gather(*map(push, range(_PUSHES)))


def _round(gateway: GatewayProcess, registry: EmbeddedRegistry, group: str) -> float:
    """Push a group, check that the registry holds it, and return how long it took."""
    start = time.perf_counter()
    ends = asyncio.run(_push_all(gateway.port, group))
    took = time.perf_counter() - start
    assert ends == [{"status": "success"}] * _PUSHES
    for number in range(_PUSHES):
        assert registry.manifest(_name(number, group), "latest") is not None
    assert all(registry.blob(digest_of(data)) == data for data in (_WEIGHTS, CONFIG))
    return took


@contextmanager
def _watched(gateway: GatewayProcess) -> Iterator[dict[str, float]]:
    """Ask for /healthz all the time; yield the longest wait and the most memory so far."""
    worst = {"wait": 0.0, "memory": 0.0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            start = time.perf_counter()
            assert json.loads(gateway.get("/healthz"))["status"] == "ok"
            worst["wait"] = max(worst["wait"], time.perf_counter() - start)
            worst["memory"] = max(worst["memory"], gateway.memory)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield worst
    finally:
        over.set()
        watcher.join()


def test_2000_hostile_connections_slow_nobody_down_and_leave_nothing(
    groups: tuple[Path, list[str]], tmp_path: Path
) -> None:
    store, named = groups
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        GatewayProcess(store, tmp_path / "uploads", registry.host) as gateway,
    ):
        alone = [_round(gateway, registry, group) for group in named[:_ROUNDS]]
        assert wait_until(gateway.is_idle)
        before, memory = gateway.left(), gateway.memory
        assert wait_until(gateway.is_idle)
        files = gateway.files
        with hostile_clients(gateway.port, _HOSTILE), _watched(gateway) as worst:
            beside = [_round(gateway, registry, group) for group in named[_ROUNDS:]]
        # The best of each: whatever else this machine does makes both slower.
        assert min(beside) <= _SLOWER * min(alone) + _FLOOR_SECONDS
        assert worst["wait"] <= _HEALTH_SECONDS
        assert worst["memory"] - memory <= _documented_bytes()
        assert wait_until(gateway.is_idle)
        assert wait_until(lambda: gateway.files == files)
        left = gateway.left()
        assert left["tasks"] == before["tasks"]
        assert left["bytes"] - before["bytes"] <= _LEFT_BYTES


@pytest.mark.parametrize("kind", ["heads", "bodies"])
def test_as_many_connections_as_there_may_be_stay_below_the_documented_memory(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "models"
    put_model(root)
    with GatewayProcess(root, tmp_path / "uploads", "127.0.0.1:1") as gateway:
        assert wait_until(gateway.is_idle)
        files, memory = gateway.files, gateway.memory
        with hostile_clients(gateway.port, _CONNECTIONS, kind):
            assert json.loads(gateway.get("/healthz"))["status"] == "ok"  # and so all that was sent before is read
            # One was closed for each question.
            assert gateway.files - files >= min(_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2) - 10
            assert gateway.memory - memory <= _documented_bytes()
        assert wait_until(gateway.is_idle)
        assert wait_until(lambda: gateway.files == files)
