"""A good guest, by either client: no faster than allowed, and quiet while the registry is ill; hooks are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.blobs import noise
from tests.support.copies import Copier, copy, either_client, places
from tests.support.gateway import Gateway, settings_for, store_of
from tests.support.gateway_requests import order_for
from tests.support.stores import put_model

from ollama_push import AsyncRegistryClient, NoResume, RegistryClient, RetryPolicy
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.events import StatusChanged
from ollama_push.core.observations import EventSeen, Observation, PauseReason, RequestPaused
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply

_RATE: Final = 1_000_000
_BYTES: Final = 300_000


def _settings(home: Path, **more: Any) -> dict[str, Any]:
    return {"store": home / "models", "plain_http": True, "credentials": ("a", "b"), "resume": NoResume(), **more}


def _sync(home: Path, items: list[PushItem], jobs: int = 2, **more: Any) -> list[PushVerdict]:
    with RegistryClient(**_settings(home, **more)) as client:
        return list(client.push_many(items, jobs=jobs))


def _async(home: Path, items: list[PushItem], jobs: int = 2, **more: Any) -> list[PushVerdict]:
    async def run() -> list[PushVerdict]:
        async with AsyncRegistryClient(**_settings(home, **more)) as client:
            return [verdict async for verdict in client.push_many(items, jobs=jobs)]

    return asyncio.run(run())


either_colour = pytest.mark.parametrize("push_all", [_sync, _async], ids=["sync", "async"])
PushAll = Callable[..., list[PushVerdict]]


@either_colour
def test_all_pushes_of_a_client_share_its_rate(push_all: PushAll, tmp_path: Path) -> None:
    for number in range(2):
        put_model(tmp_path / "models", f"registry.ollama.ai/library/m{number}/latest", (bytes([number]) * _BYTES,))
    seen = list[Observation]()
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        items = [PushItem(f"{registry.host}/team/m{number}", f"m{number}") for number in range(2)]
        began = time.monotonic()
        verdicts = push_all(tmp_path, items, max_bytes_per_second=_RATE, hooks=[seen.append])
        took = time.monotonic() - began
        assert all(verdict.receipt and verdict.receipt.verified for verdict in verdicts)
    # Two bursts of a tenth of a second may go at once.
    assert took >= 2 * _BYTES / _RATE - 0.2
    paused = [each for each in seen if isinstance(each, RequestPaused)]
    assert {each.reason for each in paused} == {PauseReason.RATE}
    assert sum(each.seconds for each in paused) > 0.2


@either_colour
def test_a_registry_that_keeps_failing_is_left_alone_for_a_while(push_all: PushAll, tmp_path: Path) -> None:
    put_model(tmp_path / "models", "registry.ollama.ai/library/m/latest", (b"weights" * 100,))
    seen = list[Observation]()
    ill = Fault("POST", path="/blobs/uploads/", times=5, action=Reply(500))
    with EmbeddedRegistry(tmp_path / "registry", faults=[ill]) as registry:
        items = [PushItem(f"{registry.host}/team/m", "m")]
        retry = RetryPolicy(attempts=10, base=0)
        verdicts = push_all(tmp_path, items, retry=retry, concurrency=1, hooks=[seen.append])
    assert verdicts[0].receipt
    paused = [each for each in seen if isinstance(each, RequestPaused)]
    assert [each.reason for each in paused] == [PauseReason.BREAKER]
    assert paused[0].seconds >= 0.4
    told = [each.event for each in seen if isinstance(each, EventSeen)]
    assert told.count(StatusChanged("waiting for the registry, which keeps failing")) == 1


def _pauses(seen: list[Observation]) -> dict[PauseReason, float]:
    paused = [each for each in seen if isinstance(each, RequestPaused)]
    return {reason: sum(each.seconds for each in paused if each.reason is reason) for reason in PauseReason}


@either_client
@pytest.mark.parametrize("source", ["store", "registry"])
@pytest.mark.parametrize("target", ["layout", "registry"])
def test_a_copy_goes_no_faster_wherever_it_goes(source: str, target: str, copier: Copier, tmp_path: Path) -> None:
    seen, rate, layers = list[Observation](), 250_000, (noise(250_000, 7),)
    with places(tmp_path, layers) as here:
        kept = f"{here.first.host}/team/from:v1"
        copy(here, "my-llama", kept)
        to = f"oci:{here.home / 'to'}:v1" if target == "layout" else f"{here.second.host}/team/to:v1"
        began = time.monotonic()
        from_where = "my-llama" if source == "store" else kept
        receipt = copier(here, from_where, to, [seen.append], max_bytes_per_second=rate)
        took = time.monotonic() - began
    total = len(layers[0])
    assert receipt.sent_bytes is not None
    assert receipt.sent_bytes >= total
    assert took >= total / rate - 0.2, "but for two bursts of a tenth of a second"
    assert _pauses(seen)[PauseReason.RATE] > 0


def test_a_gateway_sends_all_pushes_no_faster(tmp_path: Path) -> None:
    seen = list[Observation]()
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(b"weights!" * (_BYTES // 8),))
        settings = settings_for(store, max_bytes_per_second=_RATE, hooks=[seen.append], plain_http=True)
        with Gateway(settings) as gateway:
            began = time.monotonic()
            assert gateway.push(order_for(registry)).lines[-1] == {"status": "success"}
            took = time.monotonic() - began
    assert took >= _BYTES / _RATE - 0.2
    assert _pauses(seen)[PauseReason.RATE] > 0


_ONLY_SAVES_WORK: Final = [
    Fault("HEAD", times=None, action=Reply(500)),
    Fault("POST", path="mount=", times=None, action=Reply(502)),
]


@either_colour
def test_a_registry_that_fails_at_what_only_saves_work_is_not_waited_for(push_all: PushAll, tmp_path: Path) -> None:
    """Ten blobs, two questions about each, four times: far more than five failures in a row."""
    put_model(
        tmp_path / "models", "registry.ollama.ai/library/m/latest", tuple(bytes([each]) * 100 for each in range(10))
    )
    seen = list[Observation]()
    with EmbeddedRegistry(tmp_path / "registry", faults=_ONLY_SAVES_WORK) as registry:
        items = [PushItem(f"{registry.host}/team/m", "m"), PushItem(f"{registry.host}/team/n", "m")]
        verdicts = push_all(
            tmp_path, items, retry=RetryPolicy(base=0), mount_from="team/base", concurrency=1, hooks=[seen.append]
        )
        assert sum(request.method == "HEAD" for request in registry.requests) > 50
        assert sum("mount=" in request.path for request in registry.requests) > 5
    assert all(verdict.receipt and verdict.receipt.verified for verdict in verdicts)
    assert _pauses(seen)[PauseReason.BREAKER] == 0


@either_colour
def test_what_an_ill_registry_has_is_not_sent_again(push_all: PushAll, tmp_path: Path) -> None:
    """The questions of the second push are due while the registry is left alone: they are asked after all."""
    put_model(tmp_path / "models", "registry.ollama.ai/library/m/latest", (b"weights" * 100,))
    seen = list[Observation]()
    ill = Fault("POST", path="/blobs/uploads/", times=5, action=Reply(500))
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        there, elsewhere = PushItem(f"{registry.host}/team/m", "m"), PushItem(f"{registry.host}/team/n", "m")
        assert push_all(tmp_path, [there])[0].receipt
        registry.add_fault(ill)
        received = registry.received_bytes
        # The first one makes the registry ill and has no patience; the second one finds it so.
        verdicts = push_all(
            tmp_path,
            [elsewhere, there],
            jobs=1,
            retry=RetryPolicy(attempts=5, base=0),
            concurrency=1,
            hooks=[seen.append],
        )
        assert registry.received_bytes == received
        targets = [request.path for request in registry.requests]
    failed, fine = sorted(verdicts, key=lambda verdict: verdict.receipt is not None)
    assert failed.error is not None
    assert fine.receipt is not None
    assert fine.receipt.skipped_bytes == fine.receipt.total_bytes
    assert targets.count("/v2/") >= 1
    assert _pauses(seen)[PauseReason.BREAKER] > 0.3


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_times_of_responses_are_noted_by_kind(colour: str, tmp_path: Path) -> None:
    put_model(tmp_path / "models", "registry.ollama.ai/library/m/latest", (b"weights" * 100,))

    async def push_async(client: AsyncRegistryClient) -> None:
        async with client:
            await client.push(f"{registry.host}/team/m", source="m")

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        client: RegistryClient | AsyncRegistryClient
        if colour == "sync":
            client = RegistryClient(**_settings(tmp_path))
            client.push(f"{registry.host}/team/m", source="m")
            client.close()
        else:
            client = AsyncRegistryClient(**_settings(tmp_path))
            asyncio.run(push_async(client))
        kinds = {
            ("HEAD", "manifests", False, 404),
            ("HEAD", "blobs", False, 404),
            ("POST", "uploads", False, 202),
            ("GET", "manifests", False, 200),
            ("GET", "blobs", False, 206),
        }
        assert client._settings.guest.kinds_seen(registry.host) == kinds


@pytest.mark.parametrize("rate", [0, -1, float("nan"), True, "1MB"])
def test_a_rate_that_cannot_be_used_is_refused(rate: Any) -> None:
    for kind in (RegistryClient, AsyncRegistryClient):
        with pytest.raises(InvalidSetting, match="max_bytes_per_second="):
            kind(max_bytes_per_second=rate)
