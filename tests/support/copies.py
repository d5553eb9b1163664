"""One copy by the sync or the async client, and places of every kind to copy from and to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from tests.support.blobs import MIB, noise
from tests.support.stores import put_model

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushPlan, PushReceipt
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import FileResumeStore
from ollama_push.testing.registry import EmbeddedRegistry

__all__ = ["LAYERS", "Copier", "Places", "attach", "copy", "copy_awaited", "either_client", "places", "plan"]

PATIENCE: Final = 30.0
LAYERS: Final = (noise(2 * MIB + MIB // 2, 7), noise(300_000, 8), b"{{ .Prompt }}", b"")
"""Two layers that go in parts, a small one, and an empty one."""


@attrs.frozen(kw_only=True)
class Places:
    """A machine with a store of one model, ``my-llama``, and two registries.

    Attributes:
        home: The folder of this machine.
        manifest: Of the model.
    """

    home: Path
    first: EmbeddedRegistry
    second: EmbeddedRegistry
    manifest: bytes

    def settings(self, **changed: Any) -> dict[str, Any]:
        """Return the arguments of a client."""
        return {
            "store": self.home / "models",
            "credentials": ("ann", "s3cret-of-ann"),
            "retry": RetryPolicy(attempts=4, base=0),
            "plain_http": True,
            "resume": FileResumeStore(self.home / "uploads"),
            "part_bytes": MIB,
            **changed,
        }


Copier = Callable[..., PushReceipt]


def copy(places: Places, source: Any, target: Any, hooks: Iterable[Hook] = (), **changed: Any) -> PushReceipt:
    """Copy with the sync client; a transport in *changed* is closed afterwards."""
    with ExitStack() as stack:
        if "transport" in changed:
            stack.callback(changed["transport"].close)
        client = stack.enter_context(RegistryClient(hooks=hooks, **places.settings(**changed)))
        return client.copy(source, target)


def copy_awaited(places: Places, source: Any, target: Any, hooks: Iterable[Hook] = (), **changed: Any) -> PushReceipt:
    """Copy with the async client, on an event loop of its own."""

    async def main() -> PushReceipt:
        # Whoever hangs fails, instead of stopping the suite.
        async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
            if "transport" in changed:
                stack.push_async_callback(changed["transport"].aclose)
            client = await stack.enter_async_context(AsyncRegistryClient(hooks=hooks, **places.settings(**changed)))
            return await client.copy(source, target)

    return asyncio.run(main())


def plan(places: Places, source: Any, target: Any, *, awaited: bool) -> PushPlan:
    """Plan a copy with either client."""
    if not awaited:
        with RegistryClient(**places.settings()) as client:
            return client.plan_copy(source, target)

    async def main() -> PushPlan:
        async with asyncio.timeout(PATIENCE), AsyncRegistryClient(**places.settings()) as client:
            return await client.plan_copy(source, target)

    return asyncio.run(main())


either_client = pytest.mark.parametrize("copier", [copy, copy_awaited], ids=["sync", "async"])


def attach(places: Places, name: str, file: Any, media_type: str, *, awaited: bool) -> PushReceipt:
    """Attach a file with either client."""
    if not awaited:
        with RegistryClient(**places.settings()) as client:
            return client.attach(name, file, media_type)

    async def main() -> PushReceipt:
        async with asyncio.timeout(PATIENCE), AsyncRegistryClient(**places.settings()) as client:
            return await client.attach(name, file, media_type)

    return asyncio.run(main())


@contextmanager
def places(folder: Path, layers: tuple[bytes, ...] = LAYERS, **registries: Any) -> Iterator[Places]:
    """Return a machine with a model, and two registries; *registries* are arguments of both."""
    manifest = put_model(folder / "models", layers=layers)
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(EmbeddedRegistry(folder / name, **registries)) for name in ("first", "second")
        )
        yield Places(home=folder, first=first, second=second, manifest=manifest)
