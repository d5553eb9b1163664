"""Adapters that move bytes with a real HTTP library; each is loaded on first use.

``connect_failed`` reads from the exception of any library why a peer was not reached; a transport of yours
can use it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ollama_push._exports import lazy

if TYPE_CHECKING:
    from ollama_push.transports._aiohttp import AiohttpTransport
    from ollama_push.transports._failures import connect_failed
    from ollama_push.transports._urllib3 import Urllib3Transport

__all__ = ["AiohttpTransport", "Urllib3Transport", "connect_failed"]

__getattr__: Callable[[str], Any] = lazy(
    __name__, {"AiohttpTransport": "_aiohttp", "Urllib3Transport": "_urllib3", "connect_failed": "_failures"}
)
