"""The limits of a gateway's connections: heads, bodies, readers, and how many there are."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from tests.unit.gateway.test_listener import LONG, PATIENCE, Listening, listening

from ollama_push.gateway.connections import RareLog

HEAD_BYTES = 32 * 1024
FIRST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
REQUEST = FIRST + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = FIRST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
LINES = b"".join(b"X%d: %s\r\n" % (number, b"a" * 4000) for number in range(10))
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await story()

    asyncio.run(main())


async def connected(there: Listening) -> Peer:
    return await asyncio.open_connection("127.0.0.1", there.port)


async def answer_of(peer: Peer) -> bytes:
    """Return one response whose body is five bytes long."""
    head = await peer[0].readuntil(b"\r\n\r\n")
    return head + await peer[0].readexactly(5)


async def is_served(peer: Peer, request: bytes = REQUEST) -> bool:
    peer[1].write(request)
    return (await answer_of(peer)).startswith(b"HTTP/1.1 200 ")


async def rest_of(peer: Peer) -> bytes:
    """Return what comes until the connection ends, however it does."""
    rest = b""
    with suppress(ConnectionError):
        while data := await peer[0].read(65536):
            rest += data
    peer[1].close()
    return rest


@pytest.mark.parametrize("before", [b"", REQUEST, CHUNKED], ids=["first", "after a body", "after chunks"])
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "unfinished"])
def test_a_head_that_is_too_large_is_refused(before: bytes, *, complete: bool) -> None:
    async def story() -> None:
        async with listening(LONG) as there:
            peer = await connected(there)
            if before:
                assert await is_served(peer, before)
            peer[1].write(FIRST + LINES + (b"\r\n" if complete else b""))
            assert (await rest_of(peer)).startswith(b"HTTP/1.1 431 ")
            await there.wait_for(0)

    run(story)


def test_a_large_head_within_the_limit_is_no_attack() -> None:
    async def story() -> None:
        async with listening(LONG) as there:
            peer = await connected(there)
            cookie = b"Cookie: " + b"b" * 7000 + b"\r\n"
            for _ in range(3):
                assert await is_served(peer, FIRST + cookie + b"Content-Length: 5\r\n\r\nhello")
            peer[1].close()

    run(story)


def test_requests_that_come_at_once_are_served_in_turn() -> None:
    async def story() -> None:
        async with listening(LONG) as there:
            peer = await connected(there)
            peer[1].write((REQUEST + CHUNKED) * 20)
            for _ in range(40):
                assert (await answer_of(peer)).startswith(b"HTTP/1.1 200 ")
            peer[1].close()

    run(story)


def test_of_too_much_behind_a_request_nothing_is_kept_and_its_response_is_the_last() -> None:
    async def story() -> None:
        async with listening(LONG) as there:
            peer = await connected(there)
            peer[1].write(b"POST /hold HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
            await there.held.wait()
            peer[1].write(FIRST + LINES * 10)
            await peer[1].drain()
            peer[1].write(REQUEST)
            there.release.set()
            assert (await answer_of(peer)).endswith(b"hello")
            # What arrives after the response is a head that is too large.
            assert b" 200 " not in await rest_of(peer)

    run(story)


@pytest.mark.parametrize("before", [b"", REQUEST], ids=["first", "second"])
def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_others(before: bytes) -> None:
    async def story() -> None:
        async with listening(0.3) as there:
            peer = await connected(there)
            if before:
                assert await is_served(peer, before)
            peer[1].write(FIRST)
            with suppress(ConnectionError):
                while not peer[0].at_eof():
                    peer[1].write(b"a")
                    await peer[1].drain()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.01):
                            await peer[0].read(1)
            peer[1].close()
            await there.wait_for(0)

    run(story)


def test_a_connection_may_rest_between_two_requests_for_longer_than_a_head_may_take() -> None:
    async def story() -> None:
        async with listening(0.1) as there:
            peer = await connected(there)
            assert await is_served(peer)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await peer[0].read(1)
            assert await is_served(peer)
            peer[1].close()

    run(story)


@pytest.mark.parametrize("ends", [False, True], ids=["keeps the connection", "lets the response be the last"])
def test_who_does_not_take_a_response_is_disconnected(*, ends: bool) -> None:
    async def story() -> None:
        async with listening(LONG, response_timeout=0.2) as there:
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.setblocking(False)  # noqa: FBT003 - its only argument
                loop = asyncio.get_running_loop()
                await loop.sock_connect(peer, ("127.0.0.1", there.port))
                close = b"Connection: close\r\n" if ends else b""
                await loop.sock_sendall(peer, b"GET /large HTTP/1.1\r\nHost: localhost\r\n" + close + b"\r\n")
                await there.held.wait()
                await there.wait_for(0)

    run(story)


async def opened(there: Listening, count: int) -> list[Peer]:
    """Open connections, in this order."""
    peers = []
    for number in range(count):
        peers.append(await connected(there))
        await there.wait_for(number + 1)
    return peers


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_client"])
def test_who_has_waited_longest_makes_room(limit: str, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with listening(LONG, **{limit: 3}) as there:
            first, second, third = await opened(there, 3)
            assert await is_served(first)  # and so it has waited for a shorter time than the second
            second[1].write(FIRST)  # a part of a head is no merit
            fourth = await connected(there)
            assert await rest_of(second) == b""
            fifth = await connected(there)
            assert await rest_of(third) == b""
            for peer in (first, fourth, fifth):
                assert await is_served(peer)
                peer[1].close()

    run(story)
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert message.startswith("too many connections: ")


def test_a_request_that_is_carried_out_makes_no_room() -> None:
    async def story() -> None:
        async with listening(LONG, max_connections=1) as there:
            peer = await connected(there)
            peer[1].write(b"POST /hold HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
            await there.held.wait()
            refused = await rest_of(await connected(there))
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 5\r\n" in refused
            there.release.set()
            assert (await answer_of(peer)).endswith(b"hello")
            peer[1].close()
            await there.wait_for(0)
            other = await connected(there)
            assert await is_served(other)
            other[1].close()

    run(story)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\nhell", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
def test_a_request_whose_body_is_missing_makes_room(framing: bytes) -> None:
    async def story() -> None:
        async with listening(LONG, max_connections=1) as there:
            peer = await connected(there)
            peer[1].write(FIRST + framing)
            await there.held.wait()
            other = await connected(there)
            assert await rest_of(peer) == b""
            assert await is_served(other)
            other[1].close()

    run(story)


def test_a_reader_that_takes_nothing_makes_room() -> None:
    async def story() -> None:
        async with listening(LONG, max_connections=1, response_timeout=LONG) as there:
            peer = await connected(there)
            peer[0]._transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads by itself
            peer[1].write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await there.held.wait()
            async with asyncio.timeout(PATIENCE):
                while True:  # until it has written all that the system takes
                    other = await connected(there)
                    other[1].write(REQUEST)
                    with suppress(asyncio.IncompleteReadError, ConnectionError):
                        if (await answer_of(other)).startswith(b"HTTP/1.1 200 "):
                            break
            other[1].close()
            peer[1].close()

    run(story)


def test_equal_warnings_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    log = RareLog("no room")
    for _ in range(1000):
        log.note()
    assert caplog.messages == ["no room (1 since this was last said)"]
