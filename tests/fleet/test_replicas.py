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
from typing import Final

import attrs
import pytest
from tests.support.blobs import MIB
from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.haproxy import Haproxy, needs_haproxy
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stores import put_model

from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall

pytestmark = [pytest.mark.slow, pytest.mark.process, needs_redis, needs_haproxy]

_PUSHES: Final = 40
_SHARED_BYTES: Final = 2 * MIB
_SHARED_BY: Final = 4
"""So many pushes have a large blob in common, so that one is on its way at each kill."""
_OWN_BYTES: Final = 100_000
_SMALL_BYTES: Final = 2048
_BEGIN_EVERY_SECONDS: Final = 0.7
_KILLS: Final = 10
_KILL_EVERY_SECONDS: Final = 3.0
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


@attrs.define
class _Pushes:
    """Clients that push, each until it is told of a success.

    Attributes:
        port: Of the proxy.
        registry: Where the models are to arrive.
        running: Pushes that were begun and have not arrived.
        verdicts: Last line of each response; empty where the replica died before.
        lies: Models of which a success was told that are not there.
    """

    port: int
    registry: EmbeddedRegistry
    running: set[int] = attrs.field(factory=set)
    verdicts: list[str] = attrs.field(factory=list)
    lies: list[int] = attrs.field(factory=list)

    def push(self, number: int, over: threading.Event) -> None:
        over.wait(number * _BEGIN_EVERY_SECONDS)
        self.running.add(number)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (verdict := self._verdict_of(f"team/m:v{number}")) != "success":
            self.verdicts.append(verdict)
            assert time.monotonic() < deadline, self.verdicts
            over.wait(0.1)
        self.verdicts.append(verdict)
        self.running.discard(number)
        if self.registry.manifest("team/m", f"v{number}") is None:
            self.lies.append(number)

    def _verdict_of(self, name: str) -> str:
        """Push *name* once; return its verdict, empty if the replica died before there was one."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_SECONDS)
        try:
            connection.request("POST", "/api/push", json.dumps({"model": name}))
            response = connection.getresponse()
            lines = [json.loads(line) for line in response.read().splitlines()] if response.status == 200 else []
        except (OSError, HTTPException, ValueError):
            return ""
        finally:
            connection.close()
        if not lines:
            return ""  # the proxy says that the replica is gone, or nobody does
        return str(lines[-1].get("error") or lines[-1]["status"])


def test_every_model_arrives_although_replicas_are_killed(tmp_path: Path) -> None:
    """One of two is killed every three seconds, for half a minute; what they meet in and their registry stay."""
    for number in range(_PUSHES):
        shared = random.Random(-1 - number // _SHARED_BY).randbytes(_SHARED_BYTES)
        own = random.Random(number).randbytes(_OWN_BYTES)
        put_model(tmp_path / "models", f"registry.ollama.ai/team/m/v{number}", (shared, own))
    # A registry that takes its time in the middle of each large blob, so that kills come there.
    slow = [
        Fault(method, path="/blobs/uploads/", times=None, after_bytes=MIB, action=Stall(2.5))
        for method in ("PUT", "PATCH")
    ]
    with (
        RedisServer(tmp_path / "redis") as redis,
        EmbeddedRegistry(tmp_path / "registry", faults=slow) as registry,
    ):
        replicas = [Replica(tmp_path, registry.host, redis.url) for _ in range(2)]
        over = threading.Event()
        at_kills = list[int]()
        try:
            with (
                Haproxy(tmp_path, [replica.port for replica in replicas]) as proxy,
                ThreadPoolExecutor(_PUSHES) as pool,
            ):
                pushes = _Pushes(proxy.port, registry)
                pushing = [pool.submit(pushes.push, number, over) for number in range(_PUSHES)]
                began = time.monotonic()
                for number in range(_KILLS):
                    # From the beginning: a machine that is busy takes its time to start a replica again.
                    over.wait(began + (number + 1) * _KILL_EVERY_SECONDS - time.monotonic())
                    at_kills.append(len(pushes.running))
                    replicas[number % 2].restart()
                for each in pushing:
                    each.result(_PATIENCE_SECONDS)
        finally:
            over.set()
            for replica in replicas:
                replica.close()
        assert pushes.lies == []
        assert all(registry.manifest("team/m", f"v{number}") for number in range(_PUSHES))
        assert set(pushes.verdicts) == {"success", ""}, "nothing fails but what is killed"
        assert pushes.verdicts.count("success") == _PUSHES
        assert sum(at_kills) >= _KILLS, "they came in the middle of pushes"
        once = _PUSHES // _SHARED_BY * _SHARED_BYTES + _PUSHES * (_OWN_BYTES + _SMALL_BYTES)
        # The registry keeps what arrived: a kill costs what is in the buffers of a connection, for each that is open.
        assert registry.received_bytes <= once + sum(at_kills) * _OWN_BYTES + _KILLS * MIB


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
