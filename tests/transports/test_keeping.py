"""A connection is kept between requests, and what goes over it is framed as registries and proxies want it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import closing

import aiohttp
import pytest
from tests.transports.conftest import Certificates, MakeTransport

from ollama_push.core.errors import ConnectCause, ConnectFailed
from ollama_push.core.ports import HttpRequest, RequestBody
from ollama_push.testing.server import Await, NextRequest, ScriptedServer, Step, head, json_answer
from ollama_push.transports import AiohttpTransport

EMPTY = {"Content-Length": "0"}


class Reused:
    """A body in one buffer that is overwritten each time."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[memoryview]:
        buffer = bytearray(50_000)
        for start in range(0, len(self._data), len(buffer)):
            piece = self._data[start : start + len(buffer)]
            buffer[: len(piece)] = piece
            yield memoryview(buffer)[: len(piece)]
        buffer[:] = bytes(len(buffer))


@pytest.mark.parametrize("read", [True, False], ids=["read", "left"])
def test_one_connection_serves_a_whole_push(make: MakeTransport, read: bool) -> None:  # noqa: FBT001 - parametrized
    responses = [
        head(404, {"Content-Length": "157"}),  # to HEAD
        head(202, EMPTY),
        head(202, EMPTY),
        head(201, EMPTY),
        head(204),
        head(200, {"Content-Length": "157"}),  # to HEAD
    ]
    script: list[Step] = [step for response in responses for step in (response, NextRequest())]
    requests: list[tuple[str, RequestBody]] = [
        ("HEAD", b""),
        ("POST", b""),
        ("PATCH", Reused(bytes(200_000))),
        ("PUT", b"{}"),
        ("DELETE", b""),
    ]
    with ScriptedServer(script) as server, closing(make()) as transport:
        for method, body in [*requests, ("HEAD", b"")]:
            with transport.open(HttpRequest(method, server.url, body=body)) as response:
                assert not read or b"".join(response.chunks()) == b""
        assert [request.method for request in server.requests] == ["HEAD", "POST", "PATCH", "PUT", "DELETE", "HEAD"]
        assert [len(request.body) for request in server.requests] == [0, 0, 200_000, 2, 0, 0]
        assert server.accepted == 1


@pytest.mark.parametrize(
    ("method", "length"), [("POST", "0"), ("PUT", "0"), ("PATCH", "0"), ("GET", None), ("HEAD", None)]
)
@pytest.mark.parametrize("body", [b"", Reused(b"")], ids=["bytes", "sized"])
def test_no_body_has_a_length_where_one_could_be(
    make: MakeTransport, method: str, length: str | None, body: bytes | Reused
) -> None:
    # Registries and proxies respond with 411 to the first three without.
    with ScriptedServer([head(202, EMPTY)]) as server, closing(make()) as transport:
        with transport.open(HttpRequest(method, server.url, body=body)):
            pass
        assert server.requests[0].headers.get("content-length") == length
        assert "transfer-encoding" not in server.requests[0].headers


def test_a_reused_buffer_arrives_as_it_was_over_tls(make: MakeTransport, certificates: Certificates) -> None:
    data = random.Random(5).randbytes(9_000_000)
    with (
        ScriptedServer(json_answer(b"x"), tls=certificates.server_context()) as server,
        closing(make(ca_file=certificates.ca_file)) as transport,
    ):
        with transport.open(HttpRequest("PUT", server.url, body=Reused(data))) as response:
            assert b"".join(response.chunks()) == b"x"
        assert hashlib.sha256(server.requests[0].body).digest() == hashlib.sha256(data).digest()


def test_a_header_of_60_kb_is_taken(make: MakeTransport) -> None:
    state = "x" * 60_000
    script = json_answer(b"x", 202, {"Location": f"/v2/demo/blobs/uploads/1?_state={state}"})
    with (
        ScriptedServer(script) as server,
        closing(make()) as transport,
        transport.open(HttpRequest("POST", server.url)) as response,
    ):
        assert response.headers["location"].endswith(f"={state}")
        assert b"".join(response.chunks()) == b"x"


def test_a_host_label_that_is_too_long_is_an_unknown_host(make: MakeTransport) -> None:
    address = f"http://{'a' * 64}.invalid"
    with (
        pytest.raises(ConnectFailed) as caught,
        closing(make()) as transport,
        transport.open(HttpRequest("GET", f"{address}/v2/")),
    ):
        pass
    assert (caught.value.cause, caught.value.address) == (ConnectCause.UNKNOWN_HOST, address)
    assert caught.value.__cause__ is not None


def test_a_kept_connection_does_not_collect_the_bodies_of_ended_responses() -> None:
    large = bytes(1 << 20)  # not all of it arrives with the head

    def bodies() -> int:
        gc.collect()
        return sum(type(held) is aiohttp.StreamReader for held in gc.get_objects())

    async def run(url: str) -> int:
        async with AiohttpTransport() as transport:
            before = bodies()
            for _ in range(4):
                async with transport.open(HttpRequest("GET", url)) as response:
                    assert b"".join([data async for data in response.chunks()]) == large
                del response
            return bodies() - before

    ok = head(200, {"Content-Length": str(len(large))}) + large
    with ScriptedServer([ok, NextRequest()] * 4) as server:
        assert asyncio.run(run(server.url)) <= 1  # aiohttp itself holds the last one
        assert server.accepted == 1


def test_closing_ends_a_connection_whose_tls_peer_does_not_close_it(certificates: Certificates) -> None:
    """A peer that asks to close and then waits for us: without the abort, the socket outlives the event loop."""
    left = threading.Event()
    with ScriptedServer([*json_answer(b"{}"), Await(left, 30.0)], tls=certificates.server_context()) as server:

        async def fetch_once() -> None:
            request = HttpRequest("GET", f"{server.url}/x")
            async with (
                AiohttpTransport(ca_file=certificates.ca_file) as transport,
                transport.open(request) as response,
            ):
                assert [chunk async for chunk in response.chunks()] == [b"{}"]

        asyncio.run(fetch_once())
        gc.collect()  # an open transport warns here, and a warning fails the test
        left.set()
