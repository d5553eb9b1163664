"""Two hundred pushes at once: each ends as it should, and of those whose client is killed nothing is left."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from tests.support.blobs import digest_of
from tests.support.gateway_process import GatewayProcess, hanging_clients, wait_until
from tests.support.stores import CONFIG, put_model

from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

_PUSHES: Final = 200
_ABSENT: Final = 20
_WEIGHTS: Final = random.Random(6).randbytes(512 * 1024)
_PARAMS: Final = b'{"temperature":0.5}'
_CUT_BYTES: Final = 64 * 1024
_LEAKED_BYTES: Final = 10_000
_LEAKED_BLOCKS: Final = 5
"""Growth per push allowed in the better of two rounds: a busy machine may add more to one of them."""
_LONGER_THAN_ANY_TEST_SECONDS: Final = 600.0
_NAMES: Final = tuple(f"myuser/model{number}" for number in range(_PUSHES))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that share their weights and differ in their templates."""
    root = tmp_path_factory.mktemp("store")
    for name in _NAMES:
        put_model(root, f"registry.ollama.ai/{name}/latest", _layers(name))
    return root


def _layers(name: str) -> tuple[bytes, ...]:
    return _WEIGHTS, f"template of {name}".encode(), _PARAMS


def _size(name: str) -> int:
    return sum(map(len, (*_layers(name), CONFIG)))


async def _ask(port: int, names: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Push all *names* at once; return the lines of each response."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def push(name: str) -> list[dict[str, Any]]:
            async with session.post(f"http://127.0.0.1:{port}/api/push", json={"model": name}) as response:
                assert response.status == 200
                return [json.loads(line) async for line in response.content]

        return await asyncio.gather(*map(push, names))


def _held(registry: EmbeddedRegistry, store: Path) -> list[str]:
    """Return the models that *registry* holds byte for byte."""
    return [
        name
        for name in _NAMES
        if registry.manifest(name, "latest") == (store / "manifests/registry.ollama.ai" / name / "latest").read_bytes()
        and all(registry.blob(digest_of(data)) == data for data in (*_layers(name), CONFIG))
    ]


def test_200_pushes_at_once_each_end_as_they_should_and_are_measured_right(store: Path, tmp_path: Path) -> None:
    absent = [f"myuser/absent{number}" for number in range(_ABSENT)]
    present = _NAMES[: _PUSHES - _ABSENT]
    names = random.Random(1).sample([*present, *absent], _PUSHES)
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        GatewayProcess(store, tmp_path / "uploads", registry.host, max_pushes=_PUSHES) as gateway,
    ):
        responses = dict(zip(names, asyncio.run(_ask(gateway.port, names)), strict=True))
        assert [name for name in present if responses[name][-1] == {"status": "success"}] == list(present)
        assert [name for name in absent if f"{name}/latest: no such file" in responses[name][-1]["error"]] == absent
        assert _held(registry, store) == list(present)
        assert registry.sessions() == []

        total = sum(map(_size, present))
        assert registry.received_bytes == total
        assert gateway.metric("ollama_push_delivered_bytes_total", how="sent") == total
        assert gateway.metric("ollama_push_moved_bytes_total") == total
        assert gateway.metric("ollama_push_pushes_total", outcome="succeeded") == len(present)

        # What is there already is not sent again, and not measured as sent.
        assert gateway.push(present[0])[-1] == {"status": "success"}
        assert registry.received_bytes == total
        assert gateway.metric("ollama_push_delivered_bytes_total", how="sent") == total
        assert gateway.metric("ollama_push_delivered_bytes_total", how="skipped") == _size(present[0])


def test_of_200_pushes_whose_client_is_killed_nothing_is_left_but_what_resume_keeps(
    store: Path, tmp_path: Path
) -> None:
    """One blob at a time: then each push has one connection to the registry, and none may outlive its push."""
    stalls = [
        Fault(method, "/uploads/", times=None, after_bytes=_CUT_BYTES, action=Stall(_LONGER_THAN_ANY_TEST_SECONDS))
        for method in ("PATCH", "PUT")
    ]
    with EmbeddedRegistry(tmp_path / "registry", faults=stalls) as registry:
        host, _, port = registry.host.partition(":")
        with GatewayProcess(store, tmp_path / "uploads", registry.host, max_pushes=_PUSHES, concurrency=1) as gateway:
            _push_and_kill(registry, gateway)
            _push_and_kill(registry, gateway)
            files, left = gateway.files, [gateway.left()]
            for _ in range(2):
                _push_and_kill(registry, gateway)
                left.append(gateway.left())
            for measured, bound in (("bytes", _LEAKED_BYTES), ("blocks", _LEAKED_BLOCKS)):
                assert min(after[measured] - before[measured] for before, after in pairwise(left)) < _PUSHES * bound
            assert wait_until(lambda: gateway.files == files)
            assert left[-1]["threads"] == left[0]["threads"]
            assert left[-1]["tasks"] == ["RequestHandler.start", "main"]  # who asks, and who serves
            # One session each, although every push was begun four times: they went on with it.
            assert sorted(session.repository for session in registry.sessions()) == sorted(_NAMES)
            kept = sum(session.size for session in registry.sessions())
            assert kept == registry.received_bytes == 4 * _PUSHES * _CUT_BYTES

            registry.close()
            with EmbeddedRegistry(tmp_path / "registry", listen=(host, int(port))) as healed:
                responses = asyncio.run(_ask(gateway.port, _NAMES))
                assert [lines[-1] for lines in responses] == [{"status": "success"}] * _PUSHES
                assert _held(healed, store) == list(_NAMES)
                assert healed.sessions() == []
                total = sum(map(_size, _NAMES))
                assert healed.received_bytes == total - kept
                assert gateway.metric("ollama_push_delivered_bytes_total", how="sent") == total - kept
                assert gateway.metric("ollama_push_delivered_bytes_total", how="resumed") == kept


def _push_and_kill(registry: EmbeddedRegistry, gateway: GatewayProcess) -> None:
    """Let all push at once, kill their clients when every blob is on its way, and wait until the gateway knows."""
    wanted = registry.received_bytes + _PUSHES * _CUT_BYTES
    with hanging_clients(gateway.port, [{"model": name} for name in _NAMES]) as kill:
        assert registry.wait_until(lambda: registry.received_bytes >= wanted, 60.0)
        assert gateway.pushes == _PUSHES
        kill()
        assert wait_until(lambda: gateway.pushes == 0)
    assert registry.received_bytes == wanted
    assert wait_until(gateway.is_idle)
