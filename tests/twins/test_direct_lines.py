"""Response times on real sockets: fewer requests where they wait in a line, and as many as ever where they do not."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.queueing_registry import QueueingRegistry
from tests.support.stores import put_model

from ollama_push import AsyncRegistryClient, NoResume, RegistryClient
from ollama_push.core.batch import PushItem, PushVerdict

pytestmark = pytest.mark.slow

_JOBS: Final = 24
_PLACES: Final = 4
_PushAll = Callable[..., list[PushVerdict]]


def _sync(items: list[PushItem], **settings: Any) -> list[PushVerdict]:
    with RegistryClient(**settings) as client:
        return list(client.push_many(items, jobs=_JOBS))


def _async(items: list[PushItem], **settings: Any) -> list[PushVerdict]:
    async def run() -> list[PushVerdict]:
        async with AsyncRegistryClient(**settings) as client:
            return [verdict async for verdict in client.push_many(items, jobs=_JOBS)]

    return asyncio.run(run())


def _push(push_all: _PushAll, registry: QueueingRegistry, home: Path, models: int) -> None:
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
    assert all(verdict.receipt for verdict in push_all(items, **settings))


def test_a_line_is_kept_short_and_the_registry_busy(tmp_path: Path) -> None:
    with QueueingRegistry(_PLACES, seconds=0.05) as registry:
        _push(_async, registry, tmp_path, models=80)
    half = len(registry.beside) // 2
    late = registry.beside[half:-_JOBS]
    assert max(registry.beside[:half]) > _JOBS * 0.6, "they began all at once"
    assert statistics.median(late) <= 3 * _PLACES, "about 2.5 times as many as it works at"
    assert sum(each < _PLACES for each in late) < 0.2 * len(late), "it has always something to do"


def test_a_slow_registry_without_a_line_is_asked_as_much_as_ever(tmp_path: Path) -> None:
    with QueueingRegistry(places=1000, seconds=0.3) as registry:
        _push(_sync, registry, tmp_path, models=60)
    late = registry.beside[len(registry.beside) // 2 : -_JOBS]
    assert statistics.median(late) >= _JOBS * 0.5
