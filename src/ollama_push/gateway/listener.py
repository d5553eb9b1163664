"""Listens with a time limit for the first request: aiohttp (seen in 3.14) has none until it has read one head."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

__all__ = ["HeadTimeoutSite"]

_HEAD_END: Final = b"\r\n\r\n"


class HeadTimeoutSite(web.BaseSite):
    """Listens on one address, and closes connections whose first request has no complete head in time.

    Args:
        runner: Set up.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        seconds: Time for the first head, from the beginning of the connection. For later ones the runner's
            ``keepalive_timeout`` holds.
    """

    __slots__ = ("_host", "_port", "_seconds")

    def __init__(self, runner: web.AppRunner, host: str, port: int, seconds: float) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._seconds = seconds

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = cast("web.Server", self._runner.server)  # BaseSite.start() has checked it
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _FirstHead(server, self._seconds), self._host, self._port)


class _FirstHead(asyncio.Protocol):
    """Passes a connection to aiohttp's protocol, and aborts it if the first head takes too long.

    Args:
        make: Makes aiohttp's protocol.
        seconds: Time for the head.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], seconds: float) -> None:
        self._inner = make()
        self._seconds = seconds
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # create_server() makes no other
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        # Empty lines before a head are ignored (RFC 9112, 2.2).
        seen = self._tail + data if self._tail else data.lstrip(b"\r\n")
        self._tail = seen[1 - len(_HEAD_END) :]
        if _HEAD_END in seen:
            self._timer.cancel()
            self._transport.set_protocol(self._inner)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._inner.connection_lost(exc)
