"""The listener of a gateway: what it serves, and that nothing is left of a closed connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from ollama_push.gateway import GatewaySettings
from ollama_push.gateway.connections import begin_request
from ollama_push.gateway.listener import LimitedSite
from ollama_push.gateway.server import new_runner, new_site

PATIENCE = 20.0
LONG = 60.0
"""Longer than any test waits."""
_LARGE_BYTES = 4 * 1024 * 1024
"""More than the system keeps for a reader."""
HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"


@attrs.frozen
class Listening:
    """A site that listens, and what it holds."""

    site: LimitedSite
    server: web.Server
    port: int
    held: asyncio.Event
    release: asyncio.Event

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self.wait_for(1)
        return reader, writer

    async def wait_for(self, connections: int) -> None:
        """Wait until there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.server.connections) != connections:  # noqa: ASYNC110 - a server has no event for it
                await asyncio.sleep(0)


@web.middleware
async def announced(request: web.Request, handler: Handler) -> web.StreamResponse:
    begin_request(request)
    return await handler(request)


@asynccontextmanager
async def listening(seconds: float, **more: Any) -> AsyncIterator[Listening]:
    settings = GatewaySettings(body_timeout=seconds, **more)
    app = web.Application(middlewares=[announced])
    held, release = asyncio.Event(), asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        held.set()
        return web.Response(body=await request.read())

    async def hold(request: web.Request) -> web.Response:
        body = await request.read()
        held.set()
        await release.wait()
        return web.Response(body=body)

    async def large(_request: web.Request) -> web.Response:
        held.set()
        return web.Response(body=bytes(_LARGE_BYTES))

    app.router.add_post("/echo", echo)
    app.router.add_post("/hold", hold)
    app.router.add_get("/large", large)
    runner = new_runner(app, settings)
    await runner.setup()
    site = new_site(runner, settings, "127.0.0.1", 0)
    try:
        await site.start()
        assert runner.server is not None
        yield Listening(site, runner.server, runner.addresses[0][1], held, release)
    finally:
        release.set()
        await runner.cleanup()


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\n\r\n\r\n"], ids=["nothing", "a line", "lines"])
def test_a_request_may_come_byte_by_byte_and_behind_empty_lines(before: bytes) -> None:
    async def story() -> bytes:
        async with listening(LONG) as there:
            reader, writer = await there.connect()
            for byte in before + HEAD + b"hello":
                writer.write(bytes([byte]))
                await writer.drain()
            response = await reader.read()
            writer.close()
            return response

    assert asyncio.run(story()).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("sent", [b"", b"POST /ec", HEAD[:-1]], ids=["nothing", "a line's half", "all but a byte"])
@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "is hung up on"])
def test_nothing_is_left_of_a_connection_without_a_head(sent: bytes, *, leaves: bool) -> None:
    async def story() -> None:
        async with listening(LONG if leaves else 0.05) as there:
            reader, writer = await there.connect()
            writer.write(sent)
            if not leaves:
                async with asyncio.timeout(PATIENCE):
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
            writer.close()
            await there.wait_for(0)

    asyncio.run(story())


def test_a_client_that_says_no_more_in_mid_head_is_not_waited_for() -> None:
    async def story() -> bytes:
        async with listening(LONG) as there:
            reader, writer = await there.connect()
            writer.write(HEAD[:20])
            writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                response = await reader.read()
            writer.close()
            return response

    assert asyncio.run(story()) == b""


def test_it_says_where_it_listens() -> None:
    async def story() -> str:
        async with listening(LONG) as there:
            return there.site.name

    assert asyncio.run(story()) == "http://127.0.0.1:0"
