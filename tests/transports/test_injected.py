"""What is injected stays the caller's: used as it is, and not closed by us."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
import urllib3
from aiohttp.abc import AbstractResolver, ResolveResult

from ollama_push.core.errors import InvalidSetting, MachineMisuse, TransportTimeout, UsedAfterClose
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.server import Pause, ScriptedServer, json_answer
from ollama_push.transports import AiohttpTransport, Urllib3Transport
from ollama_push.transports._aiohttp import _client_timeout
from ollama_push.transports._framing import RequestLimits


def test_an_injected_pool_is_used_and_left_open() -> None:
    pool = urllib3.PoolManager(headers={"X-Mine": "1"})
    with ScriptedServer(json_answer(b"x")) as server:
        with Urllib3Transport(pool) as transport, transport.open(HttpRequest("GET", server.url)) as response:
            assert b"".join(response.chunks()) == b"x"
        assert pool.request("GET", server.url).data == b"x"
    pool.clear()


def test_an_injected_session_is_used_and_left_open() -> None:
    async def run(url: str) -> None:
        async with aiohttp.ClientSession(headers={"X-Mine": "1"}, auto_decompress=False) as session:
            async with AiohttpTransport(session) as transport, transport.open(HttpRequest("GET", url)) as response:
                assert [data async for data in response.chunks()] == [b"x"]
            assert not session.closed

    with ScriptedServer(json_answer(b"x")) as server:
        asyncio.run(run(server.url))
        assert server.requests[0].headers["x-mine"] == "1"


def test_an_injected_session_that_is_closed_is_used_after_close() -> None:
    async def run() -> None:
        session = aiohttp.ClientSession()
        await session.close()
        async with AiohttpTransport(session) as transport:
            with pytest.raises(UsedAfterClose, match="ClientSession"):
                async with transport.open(HttpRequest("GET", "http://127.0.0.1:1")):
                    pass

    asyncio.run(run())


class Loopback(AbstractResolver):
    """Says that every host is this machine, and notes who was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        self.closed = True


async def fetched(transport: AiohttpTransport, url: str) -> bytes:
    async with transport.open(HttpRequest("GET", url)) as response:
        return b"".join([data async for data in response.chunks()])


def test_an_injected_resolver_finds_hosts_and_is_left_open() -> None:
    resolver = Loopback()

    async def run(port: int) -> None:
        async with AiohttpTransport(resolver=resolver, trust_env=False) as transport:
            assert await fetched(transport, f"http://registry.example.com:{port}/x") == b"x"

    with ScriptedServer(json_answer(b"x")) as server:
        asyncio.run(run(server.port))
        assert server.requests[0].headers["host"] == f"registry.example.com:{server.port}"
    assert resolver.asked == ["registry.example.com"]
    assert not resolver.closed


def test_an_injected_resolver_is_asked_neither_for_a_proxy_nor_for_what_is_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Loopback()

    async def run(port: int) -> None:
        async with AiohttpTransport(resolver=resolver) as transport:
            assert await fetched(transport, "http://registry.example.com/x") == b"x"
            assert resolver.asked == []
            # The proxy's host, asked for itself, is one like any other: what it led to before is not remembered.
            assert await fetched(transport, f"http://localhost:{port}/x") == b"x"
            assert resolver.asked == ["localhost"]

    for name in ("HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedServer(json_answer(b"x")) as server:
        monkeypatch.setenv("http_proxy", f"http://localhost:{server.port}")
        asyncio.run(run(server.port))
        assert [seen.target for seen in server.requests] == ["http://registry.example.com/x", "/x"]


def test_a_resolver_beside_a_session_is_refused() -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(InvalidSetting, match=r"resolver=.*connector of your session"):
                AiohttpTransport(session, resolver=Loopback())

    asyncio.run(run())


def test_another_event_loop_is_refused_in_words() -> None:
    async def use(transport: AiohttpTransport, url: str) -> None:
        async with transport.open(HttpRequest("GET", url)):
            pass

    async def first(transport: AiohttpTransport, url: str) -> None:
        await use(transport, url)
        for session in transport._sessions.get():  # the loop ends, the transport stays
            await session.close()

    with ScriptedServer(json_answer(b"x")) as server:
        transport = AiohttpTransport()
        asyncio.run(first(transport, server.url))
        with pytest.raises(MachineMisuse, match="belongs to another event loop"):
            asyncio.run(use(transport, server.url))


def test_aiohttp_has_no_total_timeout_which_would_end_long_pushes() -> None:
    async def run() -> None:
        transport = AiohttpTransport(connect_timeout=3.0, read_timeout=7.0)
        request = HttpRequest("GET", "http://h")
        limits = _client_timeout(RequestLimits.of(request, transport._connect_timeout, transport._read_timeout))
        assert (limits.total, limits.connect, limits.sock_connect, limits.sock_read) == (None, 3.0, 3.0, None)

    asyncio.run(run())


@pytest.mark.parametrize("kind", [Urllib3Transport, AiohttpTransport])
@pytest.mark.parametrize("option", ["connect_timeout", "read_timeout"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_a_timeout_that_is_none_is_refused(
    kind: type[Urllib3Transport | AiohttpTransport], option: str, value: float
) -> None:
    with pytest.raises(InvalidSetting, match=option):
        kind(**{option: value})  # type: ignore[arg-type]  # the option is a parameter


def test_endless_timeouts_are_no_limit() -> None:
    with (
        ScriptedServer(json_answer(b"x")) as server,
        Urllib3Transport(connect_timeout=None, read_timeout=1e12) as endless,
        endless.open(HttpRequest("GET", server.url)) as response,
    ):
        assert b"".join(response.chunks()) == b"x"


def test_a_head_that_drips_is_limited_in_a_session_of_others_too() -> None:
    drips = [step for _ in range(100) for step in (Pause(0.05), b"a")]

    async def run(url: str) -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            transport = AiohttpTransport(session, connect_timeout=0.3, read_timeout=0.3)
            with pytest.raises(TransportTimeout):
                async with transport.open(HttpRequest("GET", url)):
                    pass

    with ScriptedServer([b"HTTP/1.1 200 OK\r\nX-Long: ", *drips, b"\r\n\r\n"]) as server:
        asyncio.run(run(server.url))
