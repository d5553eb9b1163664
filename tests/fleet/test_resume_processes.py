"""Pushes of several machines that share nothing but a Redis: killed, stopped, and without their Redis."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from tests.support.blobs import MIB
from tests.support.counting_proxy import CountingProxy
from tests.support.large_models import LargeModel, put_large_model
from tests.support.push_process import KEEPING, AnyRegistry, MakeRegistry, PushingProcess
from tests.support.redis_server import RedisServer, needs_redis

from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = [pytest.mark.slow, pytest.mark.process, needs_redis]

# The registry that is always there is killed at all moments; the real one, which takes longer, at some of them.
_MAKERS: Final = [(each, 20 if each.id == "embedded-keeping" else 5) for each in KEEPING]
_SMALL_BYTES: Final = 64 * 1024
_LEASE_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LargeModel:
    """One layer of 128 MiB."""
    return put_large_model(tmp_path_factory.mktemp("model") / "models", 128 * MIB)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def _holds(registry: AnyRegistry, model: LargeModel) -> bool:
    with registry.blob_path(model.layers[0]).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == model.layers[0]


@pytest.mark.parametrize(
    ("make", "kills"), [pytest.param(*each.values, kills, marks=each.marks, id=each.id) for each, kills in _MAKERS]
)
def test_kill_9_at_twenty_moments_and_another_machine_goes_on(
    make: MakeRegistry, kills: int, model: LargeModel, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Two homes take turns; each goes on where the other was killed, for a mebibyte at most."""
    homes = [tmp_path / "one", tmp_path / "two"]
    blob_bytes = model.sizes[0]
    edges = sorted(random.Random(17).sample(range(1, blob_bytes // 2), kills))
    moments = [end - start for start, end in zip([0, *edges], edges, strict=False)]
    with make(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        pushing = PushingProcess(model, proxy, homes[0], redis=redis_server.url, lease_seconds=_LEASE_SECONDS)
        for number, more_bytes in enumerate(moments):
            pushing = attrs.evolve(pushing, folder=homes[number % 2], asynchronous=bool(number % 3))
            assert pushing.stopped_by(signal.SIGKILL, more_bytes) is None
        said = attrs.evolve(pushing, folder=homes[kills % 2]).run()
        assert said["verified"]
        assert said["resumed_bytes"] >= blob_bytes // 2 - kills * MIB
        assert proxy.body_bytes <= blob_bytes + _SMALL_BYTES + kills * MIB
        assert _holds(registry, model)
    assert not any(home.exists() and any(home.rglob("*.json")) for home in homes), "they share nothing else"


@pytest.mark.parametrize("make", KEEPING)
def test_a_holder_that_is_stopped_beyond_its_lease_does_not_harm_the_next_one(
    make: MakeRegistry, model: LargeModel, redis_server: RedisServer, tmp_path: Path
) -> None:
    blob_bytes = model.sizes[0]
    with make(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        first = PushingProcess(model, proxy, tmp_path / "one", redis=redis_server.url, lease_seconds=_LEASE_SECONDS)
        second = attrs.evolve(first, folder=tmp_path / "two", asynchronous=True)
        process: Future[subprocess.Popen[str]] = Future()
        stopped = threading.Event()

        def stop() -> None:
            process.result(_PATIENCE_SECONDS).send_signal(signal.SIGSTOP)
            stopped.set()

        proxy.at(blob_bytes // 4, stop)
        process.set_result(first.start())
        assert stopped.wait(_PATIENCE_SECONDS)
        said = _said_by(second.start())
        assert said["verified"]
        assert said["resumed_bytes"] >= blob_bytes // 4 - MIB
        before = proxy.body_bytes
        process.result().send_signal(signal.SIGCONT)
        late = _said_by(process.result())
        assert late["verified"]
        assert late["skipped_bytes"] == model.total_bytes, "it found what the other one had stored"
        proxy.wait_until_idle()
        # The buffers of a connection hold what was on its way, and the last piece that was read.
        assert proxy.body_bytes - before <= 4 * MIB
        assert _holds(registry, model)


def _said_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, complaints = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 0, complaints
    return dict(json.loads(out))


def test_a_redis_that_is_killed_and_comes_back_empty_in_mid_push_is_told_again(
    model: LargeModel, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The holder puts its lease and its resume point there again, and the next machine finds them."""
    blob_bytes = model.sizes[0]
    with EmbeddedRegistry(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        pushing = PushingProcess(
            model, proxy, tmp_path / "one", part_bytes=MIB, redis=redis_server.url, lease_seconds=10.0
        )
        proxy.at(blob_bytes // 8, redis_server.restart)
        assert _said_by(pushing.start())["verified"]
        assert proxy.body_bytes <= blob_bytes + _SMALL_BYTES, "the push did not notice"
        assert _holds(registry, model)


def test_a_redis_that_dies_in_mid_push_does_not_harm_it_and_that_is_said_once(
    model: LargeModel, redis_server: RedisServer, tmp_path: Path
) -> None:
    blob_bytes = model.sizes[0]
    with EmbeddedRegistry(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        pushing = PushingProcess(
            model, proxy, tmp_path / "one", part_bytes=MIB, redis=redis_server.url, lease_seconds=10.0
        )
        proxy.at(blob_bytes // 8, redis_server.kill)
        process = pushing.start()
        said, complaints = process.communicate(timeout=_PATIENCE_SECONDS)
        assert process.returncode == 0, complaints
        assert '"verified": true' in said
        assert proxy.body_bytes <= blob_bytes + _SMALL_BYTES
        shown = f"unfinished uploads are not kept in {redis_server.url}: it cannot be reached; the push goes on\n"
        assert complaints == shown
