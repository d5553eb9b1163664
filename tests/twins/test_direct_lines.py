"""Response times of a registry on real sockets: a client sends fewer requests at a time where they wait in a line."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.queueing_registry import QueueingRegistry
from tests.support.stores import put_model

from ollama_push import AsyncRegistryClient, NoResume
from ollama_push.core.batch import PushItem, PushVerdict

pytestmark = pytest.mark.slow

_JOBS: Final = 24


def _pushed(items: list[PushItem], **settings: Any) -> list[PushVerdict]:
    async def run() -> list[PushVerdict]:
        async with AsyncRegistryClient(**settings) as client:
            # One push alone shows how fast the registry is.
            await client.push(items[0].model, source="m")
            return [verdict async for verdict in client.push_many(items, jobs=_JOBS)]

    return asyncio.run(run())


def _push(registry: QueueingRegistry, home: Path, models: int) -> None:
    """Push so many models, as many at a time as there are jobs."""
    put_model(home / "models", "registry.ollama.ai/library/m/latest", (b"weights",))
    settings: dict[str, Any] = {
        "store": home / "models",
        "plain_http": True,
        "credentials": ("a", "b"),
        "resume": NoResume(),
        "verify": False,
        "concurrency": 1,
    }
    items = [PushItem(f"{registry.host}/team/m{number}", "m") for number in range(models)]
    assert all(verdict.receipt for verdict in _pushed(items, **settings))


def test_a_line_is_kept_short(tmp_path: Path) -> None:
    with QueueingRegistry(places=4, seconds=0.05) as registry:
        _push(registry, tmp_path, models=80)
    half = len(registry.beside) // 2
    assert max(registry.beside[:half]) > _JOBS * 0.6, "they began all at once"
    assert statistics.median(registry.beside[half:-_JOBS]) <= 12, "about 2.5 times as many as it works at"
