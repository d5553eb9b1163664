"""One push of the gateway: which local model it takes, and that its end may come at any time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest
from tests.support.gateway import QUICK, nobody
from tests.support.stores import put_manifest, put_model

from ollama_push.client import AsyncRegistryClient
from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.observations import PushOutcome
from ollama_push.gateway.messages import BROKEN_OFF
from ollama_push.gateway.push_history import PushHistory, RunningPush
from ollama_push.gateway.push_task import PushTask, find_model
from ollama_push.gateway.route import Route, route_for
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
    assert repr(str(route.sources[0])) in str(refused.value)


@attrs.frozen
class Pushing:
    """A push with all that it is made of."""

    store: ModelStore
    work: PushTask
    entry: RunningPush

    async def run(self, route: Route) -> None:
        await self.work.run(find_model(self.store, route))


def pushing(store: ModelStore, client: AsyncRegistryClient, route: Route) -> Pushing:
    entry = PushHistory().begin(str(route.target), "http://registry")
    assert entry is not None
    return Pushing(store, PushTask(client, route, None, plain_http=True, root=store.root, entry=entry), entry)


def test_an_end_that_comes_after_the_push_changes_nothing(tmp_path: Path) -> None:
    """As when a client has not taken its last lines yet."""

    async def story(registry: EmbeddedRegistry) -> Pushing:
        route = route_for(f"{registry.host}/team/demo", None)
        put_model(tmp_path, f"{registry.host}/team/demo/latest")
        store = ModelStore(tmp_path)
        async with AsyncRegistryClient(store=store, credentials=nobody(), resume=NoResume(), retry=QUICK) as client:
            push = pushing(store, client, route)
            await push.run(route)
            push.work.end_within(0.001)
            push.work.leave()
            return push

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        push = asyncio.run(story(registry))
    assert (push.work.succeeded, push.work.error, push.entry.record().outcome) == (True, "", PushOutcome.SUCCEEDED)


def test_an_end_that_comes_before_the_push_leaves_nothing_to_send(tmp_path: Path) -> None:
    async def story(registry: EmbeddedRegistry) -> Pushing:
        route = route_for(f"{registry.host}/team/demo", None)
        put_model(tmp_path, f"{registry.host}/team/demo/latest")
        store = ModelStore(tmp_path)
        async with AsyncRegistryClient(store=store, credentials=nobody(), resume=NoResume(), retry=QUICK) as client:
            push = pushing(store, client, route)
            push.work.end_within(60.0)
            await push.run(route)
            push.work.leave()
            return push

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        push = asyncio.run(story(registry))
        assert registry.requests == []
    assert (push.work.succeeded, push.work.error, push.entry.record().outcome) == (
        False,
        BROKEN_OFF,
        PushOutcome.FAILED,
    )


def test_a_push_that_nobody_waits_for_any_more_was_cancelled(tmp_path: Path) -> None:
    async def story() -> RunningPush:
        async with AsyncRegistryClient(store=ModelStore(tmp_path), resume=NoResume()) as client:
            push = pushing(ModelStore(tmp_path), client, ROUTE)
            push.work.leave()
            push.work.leave()
            return push.entry

    assert asyncio.run(story()).record().outcome is PushOutcome.CANCELLED
