"""The end of a response: the connection closes after a refused body, and is aborted when a client takes nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientResponse, ClientSession, web
from aiohttp.typedefs import Handler
from tests.gateway.test_slow_readers import MANY, Served, reluctant
from tests.support.blobs import MIB, digest_of
from tests.support.gateway import PATIENCE, Gateway, lines_of, parse, request_of, settings_for, store_of
from tests.support.gateway_requests import BIG, order_for, start
from tests.support.status_page import OTHER, PATIENCE_SECONDS, a_push_under_way, begin, running, serving

from ollama_push.core.events import TICK_SECONDS, LayerProgress
from ollama_push.core.observations import PushOutcome
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.status_page.feed import KEEP_ALIVE
from ollama_push.gateway.status_page.pages import add_pages
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall
from ollama_push.testing.registry.store import Store

LARGEST: Final = 1000
"""Bytes that the gateways of this file take."""

AT_LAST_SECONDS: Final = 5.0
"""Where a library's own limit would be longer."""


def rest_of(peer: socket.socket) -> bytes:
    """Every byte until the connection ends, however it does."""
    raw = b""
    with suppress(ConnectionResetError):
        while data := peer.recv(65536):
            raw += data
    return raw


def one_response(peer: socket.socket) -> bytes:
    """The bytes of one response with a length, and not one more."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += peer.recv(1)
    size = int(parse(raw).headers["content-length"])
    while len(raw.partition(b"\r\n\r\n")[2]) < size:
        raw += peer.recv(1)
    return raw


@pytest.mark.parametrize(
    ("framing", "sent", "later", "status"),
    [
        pytest.param({"Content-Length": "1001"}, b"", b" " * 1001, 413, id="announced"),
        pytest.param({"Transfer-Encoding": "chunked"}, b"3e9\r\n" + b" " * 1001, b"\r\n0\r\n\r\n", 413, id="chunked"),
        pytest.param({"Content-Length": "50"}, b'{"model":', b" " * 41, 408, id="slow"),
    ],
)
def test_after_a_refused_body_the_connection_takes_no_more_requests(
    tmp_path: Path, framing: dict[str, str], sent: bytes, later: bytes, status: int
) -> None:
    """What is left of the body would be one, and somebody else's."""
    with (
        Gateway(settings_for(store_of(tmp_path), max_body_bytes=LARGEST, body_timeout=0.5)) as gateway,
        gateway.connect() as peer,
    ):
        head = request_of("POST", "/api/push", headers={"Connection": "keep-alive", **framing})
        if "Transfer-Encoding" in framing:
            head = head.replace(b"Content-Length: 0\r\n", b"")
        peer.sendall(head + sent)
        response = parse(one_response(peer))
        assert (response.status, response.headers["connection"]) == (status, "close")
        # Now that the body ends after all, there could be a next one.
        with suppress(ConnectionError):
            peer.sendall(later + request_of("GET", "/", headers={"Connection": "keep-alive"}))
        assert rest_of(peer) == b""


def test_a_client_that_is_still_sending_gets_the_whole_answer(tmp_path: Path) -> None:
    with (
        Gateway(settings_for(store_of(tmp_path), max_body_bytes=LARGEST)) as gateway,
        gateway.connect() as peer,
    ):
        # All of it before the first look at the response, which is there long before.
        peer.sendall(request_of("POST", "/api/push", BIG))
        response = parse(b"".join(iter(lambda: peer.recv(65536), b"")))
    assert response.status == 413
    assert response.lines == [{"error": f"the request's body is larger than {LARGEST} bytes"}]


def test_a_client_that_does_not_send_what_it_announced_is_not_waited_for_long(tmp_path: Path) -> None:
    with (
        Gateway(settings_for(store_of(tmp_path), max_body_bytes=LARGEST, body_timeout=0.1)) as gateway,
        gateway.connect() as peer,
    ):
        peer.settimeout(AT_LAST_SECONDS)
        peer.sendall(request_of("POST", "/api/push", headers={"Content-Length": str(MIB)}))
        assert parse(rest_of(peer)).status == 413


async def message_of(response: ClientResponse) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await response.content.readuntil(b"\n\n")


async def is_free(session: ClientSession, url: str) -> bool:
    async with session.get(url) as response:
        return response.status == 200


def test_a_page_stays_however_long_there_is_nothing_to_tell_it() -> None:
    async def run() -> None:
        history = PushHistory()
        async with (
            serving(history, keep_alive=0.1, stall_timeout=0.05) as origin,
            ClientSession() as session,
            session.get(f"{origin}/ui/events") as response,
        ):
            for _ in range(2):
                assert (await message_of(response)).startswith((b"retry: ", b"event: whole"))
            assert await message_of(response) == KEEP_ALIVE
            begin(history)
            assert (await message_of(response)).startswith(b"event: changed")

    asyncio.run(run())


def test_a_page_that_is_gone_is_noticed_though_nothing_is_to_be_told() -> None:
    async def run() -> None:
        history = PushHistory(clock=lambda: 0.0)
        push = a_push_under_way(history)
        async with serving(history, watchers=1, keep_alive=600.0) as origin, ClientSession() as session:
            url = f"{origin}/ui/events"
            async with session.get(url) as response:
                for _ in range(2):
                    await message_of(response)
                assert not await is_free(session, url)
                response.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                number, status = 0, push.record().progress.status
                while not await is_free(session, url):
                    number += 1  # a change that nobody can see
                    push.receive_event(LayerProgress(OTHER, 3_000_000_000, 1_500_000_000 + number, status))

    asyncio.run(run())


@asynccontextmanager
async def serving_little_by_little(history: PushHistory, **settings: Any) -> AsyncIterator[str]:
    """Serve the pages of *history* from sockets that hold next to nothing."""

    @web.middleware
    async def narrow(request: web.Request, handler: Handler) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return await handler(request)

    app = web.Application(middlewares=[narrow])
    add_pages(app, history, **settings)
    async with running(app) as origin:
        yield origin


def test_a_page_that_takes_nothing_is_disconnected_although_everything_was_written() -> None:
    """It is little enough that nobody waits while it is written; the sockets do not hold it all the same."""

    async def run() -> None:
        history = PushHistory(kept=10)
        for _ in range(10):
            begin(history).finish(PushOutcome.FAILED, "no " * 1500)
        loop = asyncio.get_running_loop()
        async with (
            serving_little_by_little(history, watchers=1, stall_timeout=0.2) as origin,
            ClientSession() as session,
        ):
            url = f"{origin}/ui/events"
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                peer.settimeout(0)
                host, _, port = origin.removeprefix("http://").partition(":")
                await loop.sock_connect(peer, (host, int(port)))
                await loop.sock_sendall(peer, b"GET /ui/events HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await loop.sock_recv(peer, 15)) == b"HTTP/1.1 200 OK"
                assert not await is_free(session, url)
                history.close()
                raw = b""
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not await is_free(session, url):
                        pass
                    # Of what the system had taken, something may still come, and no end as a response has it.
                    with suppress(ConnectionResetError):
                        while data := await loop.sock_recv(peer, 65536):
                            raw += data
                assert not raw.endswith(b"0\r\n\r\n")

    asyncio.run(run())


STALL_SECONDS: Final = 1.0


@pytest.mark.slow
def test_a_reader_that_comes_back_is_not_told_the_same_over_and_over(tmp_path: Path) -> None:
    """Ticks that it slept through are over."""
    weights, more = BIG, BIG[::-1]
    taken, slow = digest_of(weights), digest_of(more)
    faults = [
        Fault("PUT", taken[7:], after_bytes=MIB, action=Stall(STALL_SECONDS)),
        Fault("PUT", slow[7:], after_bytes=MIB, action=Stall(30.0)),
    ]
    end = Served()
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry:
        held = Store(tmp_path / "registry")
        for data in MANY:
            held.blob_path(digest_of(data)).write_bytes(data)
            held.link("team/demo", digest_of(data))
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(*MANY, weights, more))
        with Gateway(settings_for(store), end.app) as gateway, reluctant(gateway) as peer:
            start(gateway, order_for(registry), peer)
            # One of the two takes its time; the other one is still under way when it is over.
            assert registry.wait_until(lambda: registry.blob(taken) is not None, PATIENCE)
            assert registry.blob(slow) is None
            assert end.held_bytes() > 0
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
            lines = (line for line in lines_of(peer) if line.get("digest") == slow)
            next(lines)
            since = time.monotonic()
            for _ in range(10):
                next(lines)
            # What has gathered on the way takes no time; those it slept through are more than these ten.
            assert time.monotonic() - since >= 4 * TICK_SECONDS
