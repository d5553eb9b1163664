"""``POST /api/push`` as a server: every client of Ollama's API pushes through us, straight to the registry.

Loads aiohttp when a name is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollama_push._exports import lazy

if TYPE_CHECKING:
    from ollama_push.gateway.app import PUSH_BOOK, create_app
    from ollama_push.gateway.pushes import PushBook, PushRecord, PushState
    from ollama_push.gateway.serving import serve
    from ollama_push.gateway.settings import GatewaySettings, origins_from

__all__ = [
    "PUSH_BOOK",
    "GatewaySettings",
    "PushBook",
    "PushRecord",
    "PushState",
    "create_app",
    "origins_from",
    "serve",
]

__getattr__ = lazy(
    __name__,
    {
        "GatewaySettings": "settings",
        "PUSH_BOOK": "app",
        "PushBook": "pushes",
        "PushRecord": "pushes",
        "PushState": "pushes",
        "create_app": "app",
        "origins_from": "settings",
        "serve": "serving",
    },
)
