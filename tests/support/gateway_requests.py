"""Pushes that are asked for and not waited for, and an upload that stops midway: what tests of clients share."""

from __future__ import annotations

import json
import socket
from typing import Any, Final

from tests.support.blobs import MIB
from tests.support.gateway import Gateway, request_of

from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall

__all__ = ["BIG", "order_for", "stalling", "start"]

BIG: Final = bytes(range(256)) * (8 * MIB // 256)


def stalling(seconds: float = 30.0) -> Fault:
    """The upload of the weights stops after a part of it."""
    return Fault("PUT", "/blobs/uploads/", after_bytes=MIB, action=Stall(seconds))


def order_for(registry: EmbeddedRegistry, repository: str = "team/demo", **more: Any) -> dict[str, Any]:
    return {"model": f"{registry.host}/{repository}", "insecure": True, **more}


def start(gateway: Gateway, order: dict[str, Any], peer: socket.socket | None = None) -> socket.socket:
    """Ask for a push, over *peer* when it is given, and return the connection."""
    peer = peer or gateway.connect()
    peer.sendall(request_of("POST", "/api/push", json.dumps(order).encode()))
    return peer
