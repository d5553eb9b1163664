"""Clients: thin drivers over the core, in sync and async twins; each is loaded on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ollama_push._exports import lazy

if TYPE_CHECKING:
    from ollama_push.client._async import AsyncPushClient
    from ollama_push.client._registry_async import AsyncRegistryClient
    from ollama_push.client._registry_sync import RegistryClient
    from ollama_push.client._sync import PushClient

__all__ = ["AsyncPushClient", "AsyncRegistryClient", "PushClient", "RegistryClient"]

__getattr__: Callable[[str], Any] = lazy(
    __name__,
    {
        "AsyncPushClient": "_async",
        "AsyncRegistryClient": "_registry_async",
        "PushClient": "_sync",
        "RegistryClient": "_registry_sync",
    },
)
