"""Listens for the gateway: connections within their limits, and room for others when descriptors run out."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from aiohttp import web

from ollama_push.gateway.connections import Connection, ConnectionLimits, Connections, RareLog

__all__ = ["LimitedSite", "room_for_connections"]

_BACKLOG: Final = 512
"""Connections that the system keeps until they are accepted; asyncio accepts up to as many in one iteration."""
_SOCKET_BYTES: Final = 64 * 1024
"""What the system keeps of a connection in each direction; Linux doubles it."""
_CLOSED_AT_ONCE: Final = 16
"""Connections that are closed when the system has no descriptors left."""
_RETRY_SECONDS: Final = 1.5
"""At least as long as asyncio waits after a failed accept (``ACCEPT_RETRY_DELAY``, 1 s)."""
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class LimitedSite(web.BaseSite):
    """Listens on one address.

    Args:
        runner: Set up. Its application tells of the beginning and the end of each request (``begin_request``).
        host: Address to listen on.
        port: Port; 0 takes a free one.
        limits: What clients may take.
    """

    __slots__ = ("_connections", "_handler_before", "_host", "_limits", "_log", "_port", "_retried_at")

    def __init__(self, runner: web.AppRunner, host: str, port: int, limits: ConnectionLimits) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._limits = limits
        self._connections = Connections(limits.total, limits.per_client)
        self._log = RareLog("no connection can be accepted: the system has no descriptors or memory left")
        self._handler_before: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._retried_at = 0.0  # the loop's time by which asyncio has accepted again after a failure

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = cast("web.Server", self._runner.server)  # BaseSite.start() has checked it
        loop = asyncio.get_running_loop()
        self._handler_before = loop.get_exception_handler()
        loop.set_exception_handler(self._handle)
        self._server = await loop.create_server(
            lambda: Connection(server, self._connections, self._limits), self._host, self._port, backlog=_BACKLOG
        )
        with suppress(TypeError):  # other event loops than asyncio's own may not let their sockets be changed
            for listening in self._server.sockets:
                # Accepted connections get the same (tcp(7)): the system would keep some MB for each.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)

    async def stop(self) -> None:
        await super().stop()
        loop = asyncio.get_running_loop()
        if loop.time() < self._retried_at:
            loop.call_at(self._retried_at, self._restore_handler, loop)
        else:
            self._restore_handler(loop)

    def _restore_handler(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.get_exception_handler() == self._handle:
            loop.set_exception_handler(self._handler_before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle a failed accept briefly, and everything else as before.

        asyncio (CPython 3.11 to 3.13, ``selector_events.py``, ``_accept_connection``) reports it with a traceback for
        each place of the backlog, and tries again after a second for each of them; when the socket was closed in that
        second, each try fails with a traceback of its own.
        """
        failure = context.get("exception")
        if "socket" in context and isinstance(failure, OSError) and failure.errno in _EXHAUSTED:
            self._log.note()
            self._connections.close_some(_CLOSED_AT_ONCE)
            self._retried_at = loop.time() + _RETRY_SECONDS
        elif isinstance(failure, ValueError) and "._start_serving" in context["message"]:
            pass  # accepting again on a socket that was closed meanwhile
        elif self._handler_before is not None:
            self._handler_before(loop, context)
        else:
            loop.default_exception_handler(context)


def room_for_connections(wanted: int) -> int:
    """Return how many connections there may be: half of this process's descriptors at most, the rest is for pushes."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return wanted
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, max(1, soft // 2))
