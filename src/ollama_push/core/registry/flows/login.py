"""Tries a login: the registry itself is asked, which makes it look at who asks."""

from __future__ import annotations

from ollama_push.core.facts import Operation
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.exchange import Exchange

__all__ = ["login_flow"]


def login_flow(exchange: Exchange) -> Flow[bool]:
    """Ask the registry as such, which makes it look at our login; say whether it wanted to see one.

    Raises:
        PushRejected: It does not accept the login.

    Source: distribution-spec v1.1.1, "Determining Support": ``/v2/`` asks for what the registry wants.
    """
    yield from exchange.ask(Operation.LOG_IN, "GET", exchange.endpoint.base, (200, 404))
    return exchange.authorized
