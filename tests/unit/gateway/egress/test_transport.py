"""The gateway's transport: who resolves a name, and what may be reached under it."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from tests.support.socks_proxy import Asked, SocksProxy

from ollama_push.core.errors import ConnectFailed, PushRejected
from ollama_push.core.ports import HttpRequest
from ollama_push.gateway.egress.rules import AddressRules
from ollama_push.gateway.egress.transport import EgressTransport, GuardedResolver, new_egress_transport
from ollama_push.testing.server import ScriptedServer, json_answer
from ollama_push.transports import AiohttpTransport

OPEN = AddressRules(loopback=False)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def fetched(url: str, rules: AddressRules) -> bytes:
    async def fetch() -> bytes:
        transport = new_egress_transport(rules)
        try:
            async with transport.open(HttpRequest("GET", url)) as response:
                return b"".join([data async for data in response.chunks()])
        finally:
            await transport.aclose()

    return asyncio.run(fetch())


def test_a_name_that_leads_to_this_machine_is_not_connected_to() -> None:
    with ScriptedServer(json_answer(b"x")) as server:
        url = f"http://localhost:{server.port}/"
        with pytest.raises(PushRejected, match=r"localhost, which is .*own machine: nothing was sent there"):
            fetched(url, OPEN)
        assert server.accepted == 0
        assert fetched(url, AddressRules(loopback=True)) == b"x"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_proxy_of_the_environment_may_be_anywhere_and_resolves_names(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with ScriptedServer(json_answer(b"through it")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{name}:{proxy.port}")
        assert fetched("http://registry.invalid/x", OPEN) == b"through it"
        assert proxy.requests[0].target == "http://registry.invalid/x"


def test_a_proxy_is_no_way_to_what_is_forbidden_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(json_answer(b"through it")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(PushRejected, match="metadata"):
            fetched("http://169.254.169.254/latest", OPEN)
        assert proxy.accepted == 0


def test_past_the_proxy_names_are_resolved_under_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the proxy's own, after it was connected to as a proxy."""
    with ScriptedServer(json_answer(b"through it")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://localhost:{proxy.port}")

        async def story() -> None:
            transport = new_egress_transport(OPEN)
            try:
                async with transport.open(HttpRequest("GET", "http://registry.invalid/")) as response:
                    assert response.status == 200
                with pytest.raises(PushRejected, match="localhost, which is"):
                    async with transport.open(HttpRequest("GET", f"http://localhost:{proxy.port}/")):
                        pass
            finally:
                await transport.aclose()

        asyncio.run(story())
        assert len(proxy.requests) == 1


class Leads(AbstractResolver):
    """Every name leads to one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=self._address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("scheme", "address", "asked"),
    [
        ("socks5", "169.254.169.254", None),
        ("socks5", "203.0.113.7", Asked("203.0.113.7", 80, is_name=False)),
        ("socks5h", "169.254.169.254", Asked("registry.example.com", 80, is_name=True)),
    ],
)
def test_what_a_name_leads_to_is_checked_before_a_socks_proxy_gets_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, address: str, asked: Asked | None
) -> None:
    with ScriptedServer(json_answer(b"x")) as server, SocksProxy(server.port) as proxy:
        monkeypatch.setenv("all_proxy", proxy.url(scheme))

        async def story() -> int:
            resolver = GuardedResolver(OPEN, Leads(address))
            transport = EgressTransport(OPEN, resolver, AiohttpTransport(resolver=resolver))
            try:
                async with transport.open(HttpRequest("GET", "http://registry.example.com/")) as response:
                    return response.status
            finally:
                await transport.aclose()

        if asked is None:
            with pytest.raises(PushRejected, match=r"registry\.example\.com, which is a link-local address"):
                asyncio.run(story())
        else:
            assert asyncio.run(story()) == 200
        assert proxy.asked == ([asked] if asked else [])


def test_a_socks_proxy_is_no_way_to_what_is_forbidden_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with SocksProxy() as proxy:
        monkeypatch.setenv("all_proxy", proxy.url())
        with pytest.raises(PushRejected, match="metadata"):
            fetched("http://169.254.169.254/latest", OPEN)
        assert proxy.accepted == 0


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("\uff11\uff12\uff17.\uff10.\uff10.\uff11", id="full-width digits"),
        pytest.param("127\u30020\u30020\u30021", id="ideographic full stops"),
        "127.0.0.1.",
        "localhost.",
        "127.1",
        "0x7f.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
    ],
)
def test_no_spelling_of_this_machine_gets_around_the_rules(host: str) -> None:
    with ScriptedServer(json_answer(b"x")) as server:
        with pytest.raises((PushRejected, ConnectFailed)):
            fetched(f"http://{host}:{server.port}/", OPEN)
        assert server.accepted == 0


class Closing(AbstractResolver):
    """Knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(host)

    async def close(self) -> None:
        self.closed = True


def test_what_it_was_made_of_is_closed_with_it() -> None:
    async def story() -> None:
        inner = Closing()
        resolver = GuardedResolver(OPEN, inner)
        await EgressTransport(OPEN, resolver, AiohttpTransport(resolver=resolver)).aclose()
        assert inner.closed

    asyncio.run(story())


def test_names_are_looked_up_although_the_loop_s_own_threads_wait() -> None:
    async def story() -> list[ResolveResult]:
        hold = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        waiting = loop.run_in_executor(None, hold.wait, 20.0)
        resolver = GuardedResolver(AddressRules(loopback=True))
        try:
            async with asyncio.timeout(20.0):
                return await resolver.resolve("localhost", 11434)
        finally:
            hold.set()
            await waiting
            await resolver.close()

    found = asyncio.run(story())
    assert {(result["hostname"], result["port"]) for result in found} == {("localhost", 11434)}
    assert not [each for each in threading.enumerate() if each.name.startswith("ollama-push-dns")]
