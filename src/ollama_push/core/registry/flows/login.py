"""Tries a login against the registry."""

from __future__ import annotations

from ollama_push.core.facts import Operation
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.exchange import Exchange

__all__ = ["login_flow"]


def login_flow(exchange: Exchange) -> Flow[bool]:
    """Send a request that needs the login; return whether the registry asked for one.

    Raises:
        PushRejected: It does not accept the login.

    Source: distribution-spec v1.1.1, "Determining Support" (``/v2/``).
    """
    yield from exchange.ask(Operation.LOG_IN, "GET", exchange.endpoint.base, (200, 404))
    return exchange.authorized
