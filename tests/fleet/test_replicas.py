"""Replicas of a gateway behind haproxy, one of which is killed now and then: every model arrives, no verdict lies."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.blobs import MIB
from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.haproxy import Haproxy, free_port, needs_haproxy
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stores import put_model

from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall

pytestmark = [pytest.mark.slow, pytest.mark.process, needs_redis, needs_haproxy]

_PUSHES: Final = 24
_SHARED: Final = random.Random(3).randbytes(2 * MIB)
_OWN_BYTES: Final = 100_000
_KILLS: Final = 4
_KILL_EVERY_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 120.0


class Replica:
    """A gateway on a port of its own, which is killed and started again there."""

    def __init__(self, home: Path, registry: str, redis: str, *, max_pushes: int = 64) -> None:
        self.port = free_port()
        self._make = partial(
            GatewayProcess,
            home / "models",
            home / "uploads",
            registry,
            redis=redis,
            port=self.port,
            max_pushes=max_pushes,
        )
        self.process = self._make()

    def restart(self) -> None:
        self.process.close()
        self.process = self._make()

    def close(self) -> None:
        self.process.close()


def _lines_of(port: int, name: str) -> list[dict[str, Any]]:
    """Push *name* once; return the lines up to where the response ended or broke."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("POST", "/api/push", json.dumps({"model": name}))
        response = connection.getresponse()
        lines = []
        while line := response.readline():
            lines.append(json.loads(line))
    except (OSError, HTTPException, ValueError):
        return []
    else:
        return lines if response.status == 200 else []
    finally:
        connection.close()


def test_every_model_arrives_although_replicas_are_killed(tmp_path: Path) -> None:
    for number in range(_PUSHES):
        own = random.Random(number).randbytes(_OWN_BYTES)
        put_model(tmp_path / "models", f"registry.ollama.ai/team/m/v{number}", (_SHARED, own))
    # A registry that takes its time, so that kills come in the middle of uploads.
    slow = Fault("PUT", path="/blobs/uploads/", times=None, action=Stall(0.3))
    with (
        RedisServer(tmp_path / "redis") as redis,
        EmbeddedRegistry(tmp_path / "registry", faults=[slow]) as registry,
    ):
        replicas = [Replica(tmp_path, registry.host, redis.url) for _ in range(2)]
        over = threading.Event()
        lies = list[str]()

        def push(number: int) -> int:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            for tries in range(1, 1000):
                lines = _lines_of(proxy.port, f"team/m:v{number}")
                if lines and lines[-1].get("status") == "success":
                    if registry.manifest("team/m", f"v{number}") is None:
                        lies.append(f"v{number} is not there")
                    return tries
                assert time.monotonic() < deadline, lines
                over.wait(0.1)
            return 0

        def kill_again_and_again() -> None:
            for number in range(_KILLS):
                if over.wait(_KILL_EVERY_SECONDS):
                    return
                replicas[number % 2].restart()

        try:
            with Haproxy(tmp_path, [replica.port for replica in replicas]) as proxy, ThreadPoolExecutor(6) as pool:
                killer = threading.Thread(target=kill_again_and_again)
                killer.start()
                tries = list(pool.map(push, range(_PUSHES)))
                over.set()
                killer.join()
        finally:
            for replica in replicas:
                replica.close()
        assert lies == []
        assert all(registry.manifest("team/m", f"v{number}") for number in range(_PUSHES))
        assert all(tries)
        unique = len(_SHARED) + _PUSHES * (_OWN_BYTES + 23)
        # Each kill breaks what is in flight: the shared blob once, and one of each push that runs.
        in_flight = _KILLS * (len(_SHARED) + 6 * _OWN_BYTES)
        assert registry.received_bytes <= unique + in_flight + _PUSHES * 2048


def test_the_limit_on_pushes_is_that_of_all_replicas(tmp_path: Path) -> None:
    put_model(tmp_path / "models", "registry.ollama.ai/team/m/v1")
    stuck = Fault("POST", path="/blobs/uploads/", times=None, action=Stall(120.0))
    with (
        RedisServer(tmp_path / "redis") as redis,
        EmbeddedRegistry(tmp_path / "registry", faults=[stuck]) as registry,
    ):
        one, two = (Replica(tmp_path, registry.host, redis.url, max_pushes=1) for _ in range(2))
        try:
            running = one.process.start_push("team/m:v1")
            assert wait_until(lambda: one.process.pushes == 1)
            refused = HTTPConnection("127.0.0.1", two.port, timeout=_PATIENCE_SECONDS)
            refused.request("POST", "/api/push", json.dumps({"model": "team/m:v1"}))
            response = refused.getresponse()
            assert response.status == 503
            assert b"1 pushes are running" in response.read()
            refused.close()
            assert wait_until(lambda: b"team/m:v1" in two.process.get("/ui")), "its page shows the push of the other"
            running.close()
        finally:
            one.close()
            two.close()
