"""``POST /api/push`` as a server: clients of Ollama's API push through the gateway, straight to the registry.

Loads aiohttp when a name is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ollama_push._exports import lazy

if TYPE_CHECKING:
    from ollama_push.gateway.app import PUSH_HISTORY, create_app
    from ollama_push.gateway.push_history import PushHistory, PushRecord
    from ollama_push.gateway.server import serve
    from ollama_push.gateway.settings import GatewaySettings, origins_from

__all__ = [
    "PUSH_HISTORY",
    "GatewaySettings",
    "PushHistory",
    "PushRecord",
    "create_app",
    "origins_from",
    "serve",
]

__getattr__: Callable[[str], Any] = lazy(
    __name__,
    {
        "GatewaySettings": "settings",
        "PUSH_HISTORY": "app",
        "PushHistory": "push_history",
        "PushRecord": "push_history",
        "create_app": "app",
        "origins_from": "settings",
        "serve": "server",
    },
)
