"""Clients: thin twin drivers over the core; each colour is loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ollama_push.client._async import AsyncPushClient
    from ollama_push.client._registry_async import AsyncRegistryClient
    from ollama_push.client._registry_sync import RegistryClient
    from ollama_push.client._sync import PushClient

__all__ = ["AsyncPushClient", "AsyncRegistryClient", "PushClient", "RegistryClient"]

_EXPORTS = {
    "AsyncPushClient": "_async",
    "AsyncRegistryClient": "_registry_async",
    "PushClient": "_sync",
    "RegistryClient": "_registry_sync",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
