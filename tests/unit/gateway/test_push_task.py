"""One push of the gateway: which local model it takes, and that its end may come at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from tests.support.gateway import PATIENCE, QUICK, nobody
from tests.support.stores import put_manifest, put_model

from ollama_push.client import AsyncRegistryClient
from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.observations import PushOutcome
from ollama_push.gateway.messages import CANCELLED_BY_SHUTDOWN
from ollama_push.gateway.push_history import PushHistory, RunningPush
from ollama_push.gateway.push_task import PushTask, find_model
from ollama_push.gateway.route import PushRoute, route_for
from ollama_push.gateway.shutdown import Shutdown
from ollama_push.local import ModelStore, NoResume
from ollama_push.testing.registry import EmbeddedRegistry

COMPANY = "registry.example.com"
ROUTE = route_for("my-llama", COMPANY)
FIRST = "registry.ollama.ai/library/my-llama/latest"
SECOND = f"{COMPANY}/library/my-llama/latest"
DAMAGED = b"{"


def test_the_name_as_written_comes_before_the_name_in_the_registry(tmp_path: Path) -> None:
    second = put_model(tmp_path, SECOND, (b"another",))
    assert find_model(ModelStore(tmp_path), ROUTE).manifest.raw == second
    first = put_model(tmp_path, FIRST)
    assert find_model(ModelStore(tmp_path), ROUTE).manifest.raw == first


def test_a_damaged_model_is_not_passed_over(tmp_path: Path) -> None:
    put_manifest(tmp_path, FIRST, DAMAGED)
    put_model(tmp_path, SECOND)
    with pytest.raises(PushRejected, match=r"registry\.ollama\.ai") as refused:
        find_model(ModelStore(tmp_path), ROUTE)
    assert refused.value.reason is RejectionReason.STORE_DAMAGED
    assert COMPANY not in str(refused.value)


def test_a_damaged_model_is_not_said_to_be_missing(tmp_path: Path) -> None:
    put_manifest(tmp_path, SECOND, DAMAGED)
    with pytest.raises(PushRejected, match=COMPANY) as refused:
        find_model(ModelStore(tmp_path), ROUTE)
    assert refused.value.reason is RejectionReason.STORE_DAMAGED


@pytest.mark.parametrize("name", ["my-llama", f"{COMPANY}/team/my-llama"])
def test_what_is_nowhere_is_missing_as_it_was_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "manifests").mkdir()
    route = route_for(name, COMPANY)
    with pytest.raises(PushRejected) as refused:
        find_model(ModelStore(tmp_path), route)
    assert refused.value.reason is RejectionReason.MODEL_NOT_FOUND
    assert repr(route.sources[0].shortest) in str(refused.value)


@attrs.frozen
class Pushing:
    """A push with what it is made of."""

    task: PushTask
    record: RunningPush
    shutdown: Shutdown

    async def run(self) -> None:
        """Push to the end."""
        async with self.task.running():
            while not self.task.is_over:
                await self.task.wait_for_lines(asyncio.get_running_loop().time() + PATIENCE)

    def ended(self) -> tuple[str, PushOutcome | None]:
        return self.task.error, self.record.record().outcome


def pushing(store: ModelStore, client: AsyncRegistryClient, route: PushRoute, grace_seconds: float) -> Pushing:
    record = PushHistory().begin(str(route.target), "http://registry")
    assert record is not None
    shutdown = Shutdown(grace_seconds)
    task = PushTask(
        client,
        route.target,
        find_model(store, route),
        None,
        plain_http=True,
        private=False,
        record=record,
        describe=str,
        shutdown=shutdown,
    )
    return Pushing(task, record, shutdown)


@asynccontextmanager
async def a_push(registry: EmbeddedRegistry, folder: Path, grace_seconds: float = 60.0) -> AsyncIterator[Pushing]:
    route = route_for(f"{registry.host}/team/demo", None)
    put_model(folder, f"{registry.host}/team/demo/latest")
    store = ModelStore(folder)
    async with AsyncRegistryClient(store=store, credentials=nobody(), resume=NoResume(), retry=QUICK) as client:
        yield pushing(store, client, route, grace_seconds)


def test_an_end_that_comes_after_the_push_changes_nothing(tmp_path: Path) -> None:
    """As when a client has not taken its last lines yet."""

    async def story(registry: EmbeddedRegistry) -> tuple[str, PushOutcome | None]:
        async with a_push(registry, tmp_path, 0.001) as push:
            with push.record:
                await push.run()
                push.shutdown.begin()
            return push.ended()

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        assert asyncio.run(story(registry)) == ("", PushOutcome.SUCCEEDED)


def test_an_end_that_comes_before_the_push_leaves_nothing_to_send(tmp_path: Path) -> None:
    async def story(registry: EmbeddedRegistry) -> tuple[str, PushOutcome | None]:
        async with a_push(registry, tmp_path) as push:
            with push.record:
                push.shutdown.begin()
                await push.run()
            return push.ended()

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        assert asyncio.run(story(registry)) == (CANCELLED_BY_SHUTDOWN, PushOutcome.FAILED)
        assert registry.requests == []


def test_a_push_that_nobody_waits_for_any_more_is_cancelled(tmp_path: Path) -> None:
    async def story(registry: EmbeddedRegistry) -> tuple[str, PushOutcome | None]:
        async with a_push(registry, tmp_path) as push:
            with push.record:
                async with push.task.running():
                    assert not push.task.is_over
                assert push.task.is_over
            return push.ended()

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        assert asyncio.run(story(registry)) == ("context canceled", PushOutcome.CANCELLED)
