"""Who takes no response is disconnected, whatever the response is: of pushes and pages, other tests tell."""

from __future__ import annotations

import select
import socket
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.support.gateway import PATIENCE, Gateway, request_of, settings_for, store_of

from ollama_push.gateway import GatewaySettings, create_app

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at a socket's state without reading")

TOKEN = "the-token-of-this-gateway"
KEEP = {"Connection": "keep-alive"}
KNOWN = {**KEEP, "Authorization": f"Bearer {TOKEN}"}


@web.middleware
async def narrow(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the system hold next to nothing of a response."""
    assert request.transport is not None
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return await handler(request)


def narrow_app(settings: GatewaySettings) -> web.Application:
    app = create_app(settings)
    app.middlewares.insert(0, narrow)
    return app


@pytest.mark.parametrize(
    "request_",
    [
        request_of("GET", "/api/tags", headers=KNOWN),
        request_of("GET", "/metrics", headers=KNOWN),
        request_of("GET", "/healthz", headers=KEEP),
        request_of("GET", "/nowhere", headers=KNOWN),
        request_of("GET", "/api/tags", headers=KEEP),
        request_of("POST", "/api/push", b"[]", headers=KNOWN),
        request_of("POST", "/api/push", b'{"model": "a/b"}', headers=KNOWN),
        request_of("GET", "/ui", headers=KEEP),
    ],
    ids=["list", "metrics", "health", "no such path", "no token", "no request", "no model", "no token for a page"],
)
def test_it_is_disconnected(request_: bytes, tmp_path: Path) -> None:
    settings = settings_for(store_of(tmp_path, "h/a/m/t"), token=TOKEN, response_timeout=0.2, stall_timeout=0.2)
    with Gateway(settings, narrow_app) as gateway, socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        peer.settimeout(PATIENCE)
        peer.connect(("127.0.0.1", gateway.port))
        watch = select.poll()
        watch.register(peer, select.POLLERR | select.POLLHUP)
        # Small ones fill the sockets when there are many.
        peer.sendall(request_ * min(200, 30_000 // len(request_)))
        assert watch.poll(PATIENCE * 1000)
        assert gateway.send("GET", "/healthz").status == 200
