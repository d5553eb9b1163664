"""A good guest, by either client: no faster than allowed, and quiet while the registry is ill; hooks are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.stores import put_model

from ollama_push import AsyncRegistryClient, NoResume, RegistryClient, RetryPolicy
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.observations import Observation, PauseReason, RequestPaused
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply

_RATE: Final = 1_000_000
_BYTES: Final = 300_000


def _settings(home: Path, **more: Any) -> dict[str, Any]:
    return {"store": home / "models", "plain_http": True, "credentials": ("a", "b"), "resume": NoResume(), **more}


def _sync(home: Path, items: list[PushItem], **more: Any) -> list[PushVerdict]:
    with RegistryClient(**_settings(home, **more)) as client:
        return list(client.push_many(items, jobs=2))


def _async(home: Path, items: list[PushItem], **more: Any) -> list[PushVerdict]:
    async def run() -> list[PushVerdict]:
        async with AsyncRegistryClient(**_settings(home, **more)) as client:
            return [verdict async for verdict in client.push_many(items, jobs=2)]

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


@pytest.mark.parametrize("rate", [0, -1, float("nan"), True, "1MB"])
def test_a_rate_that_cannot_be_used_is_refused(rate: Any) -> None:
    for kind in (RegistryClient, AsyncRegistryClient):
        with pytest.raises(InvalidSetting, match="max_bytes_per_second="):
            kind(max_bytes_per_second=rate)
