"""Brings the pulls of a gateway up and takes them down: the registries, the signing key, the cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ollama_push.client._lanes import Lane
from ollama_push.core.ports import AsyncTransport
from ollama_push.core.registry.credentials import CredentialSource
from ollama_push.gateway.pull.cache import BlobCache
from ollama_push.gateway.pull.handler import PullHandler
from ollama_push.gateway.pull.upstream import Upstream
from ollama_push.local.pull_key import pull_key

__all__ = ["serving_pulls"]


@asynccontextmanager
async def serving_pulls(
    handler: PullHandler, transport: AsyncTransport, credentials: CredentialSource, lane: Lane
) -> AsyncIterator[None]:
    """Let *handler* serve within the block.

    Args:
        handler: Of the pulls.
        transport: Reaches the registries.
        credentials: The gateway's logins there.
        lane: Reads files.

    Raises:
        InvalidSetting: The folder of the cache cannot be used.
    """
    settings = handler.settings
    if not settings.pull:
        yield
        return

    async def find_key() -> bytes:
        return await lane.run(pull_key) if settings.pull_key is None else settings.pull_key

    cache = None
    if settings.cache is not None:
        cache = BlobCache(Path(settings.cache), settings.cache_bytes, handler.history.note_fetched)
        await lane.run(cache.open)
    handler.start(Upstream(settings, transport, credentials), cache, find_key)
    try:
        yield
    finally:
        if cache is not None:
            await cache.close()
