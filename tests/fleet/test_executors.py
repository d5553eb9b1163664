"""``push_many`` over executors of others: processes of this machine, and a cluster of dask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stores import put_models

from ollama_push import NoResume, RegistryClient
from ollama_push.core.batch import PushItem
from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason
from ollama_push.core.observations import PushStarted
from ollama_push.fleet import RedisResumeStore
from ollama_push.testing.registry import EmbeddedRegistry

# distributed warns of ports, of clocks and of its own dependencies, none of which is ours.
pytestmark = [pytest.mark.slow, pytest.mark.process, needs_redis, pytest.mark.filterwarnings("ignore")]

_COUNT: Final = 8


@pytest.fixture(params=["processes", "dask"])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Executor]:
    """Two worker processes."""
    if request.param == "processes":
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            yield pool
        return
    distributed = pytest.importorskip("distributed")
    options: dict[str, Any] = {"dashboard_address": None, "local_directory": str(tmp_path / "dask")}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor(pure=False)


def test_models_are_pushed_by_worker_processes_that_share_a_redis(executor: Executor, tmp_path: Path) -> None:
    put_models(tmp_path / "models", _COUNT)
    with RedisServer(tmp_path / "redis") as server, EmbeddedRegistry(tmp_path / "registry") as registry:
        items = [PushItem(f"{registry.host}/team/m{number}:v1", f"m{number}") for number in range(_COUNT)]
        missing = PushItem(f"{registry.host}/team/none:v1", "none")
        resume = RedisResumeStore(server.url)
        with RegistryClient(
            store=tmp_path / "models", plain_http=True, credentials=("ann", "s3cret"), resume=resume
        ) as client:
            verdicts = {verdict.item: verdict for verdict in client.push_many([*items, missing], executor=executor)}
        assert set(verdicts) == {*items, missing}
        receipts = [verdicts[item].receipt for item in items]
        assert all(receipt is not None and receipt.verified for receipt in receipts), verdicts
        error = verdicts[missing].error
        assert isinstance(error, PushRejected)
        assert error.reason is RejectionReason.MODEL_NOT_FOUND
        assert all(registry.manifest(f"team/m{number}", "v1") for number in range(_COUNT))
        assert server.client().dbsize() >= _COUNT, "they claimed their uploads there"


def _die(_seen: object) -> None:
    os._exit(9)


def _die_of_one(seen: object) -> None:
    if isinstance(seen, PushStarted) and "/m2:" in seen.push.model:
        os._exit(9)


def test_a_worker_that_dies_is_a_verdict(tmp_path: Path) -> None:
    put_models(tmp_path / "models", 1)
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
        RegistryClient(store=tmp_path / "models", plain_http=True, credentials=("a", "b"), hooks=[_die]) as client,
    ):
        (verdict,) = client.push_many([PushItem(f"{registry.host}/team/m0:v1", "m0")], executor=pool)
    assert verdict.receipt is None
    assert verdict.error is not None
    assert not isinstance(verdict.error, OllamaPushError)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_died_are_the_verdict_of_every_model_that_is_left(method: str, tmp_path: Path) -> None:
    """A pool of processes ends with its first worker, and takes no more work."""
    put_models(tmp_path / "models", _COUNT)
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        ProcessPoolExecutor(2, get_context(method)) as pool,
        RegistryClient(
            store=tmp_path / "models", plain_http=True, credentials=("a", "b"), hooks=[_die_of_one], resume=NoResume()
        ) as client,
    ):
        items = [PushItem(f"{registry.host}/team/m{number}:v1", f"m{number}") for number in range(_COUNT)]
        verdicts = {verdict.item: verdict for verdict in client.push_many(items, executor=pool, jobs=1)}
        assert list(verdicts) == items
    assert all(verdicts[item].receipt for item in items[:2])
    assert all(isinstance(verdicts[item].error, BrokenProcessPool) for item in items[2:])
