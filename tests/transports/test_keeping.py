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
from aiohttp.client_proto import ResponseHandler
from tests.transports.conftest import Certificates, MakeTransport

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, TransportTimeout
from ollama_push.core.ports import HttpRequest, RequestBody
from ollama_push.testing.server import Await, Hold, NextRequest, Reset, ScriptedServer, Step, head, json_answer
from ollama_push.transports import AiohttpTransport

PATIENCE = 30.0
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


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_who_has_the_whole_body_and_asks_for_no_more_keeps_the_connection(make: MakeTransport, framing: str) -> None:
    """As a verification does, which reads the first byte of each blob and knows that there is one."""
    length = head(206, {"Content-Length": "1"}) + b"x"
    chunks = head(206, {"Transfer-Encoding": "chunked"}) + b"1\r\nx\r\n0\r\n\r\n"
    script: list[Step] = [length if framing == "length" else chunks, NextRequest(), head(204)]
    with ScriptedServer(script) as server, closing(make()) as transport:
        with transport.open(HttpRequest("GET", server.url)) as response:
            assert next(iter(response.chunks())) == b"x"
        with transport.open(HttpRequest("GET", server.url)):
            pass
        assert server.accepted == 1


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


def test_an_idle_connection_that_is_reset_is_no_message_to_anybody() -> None:
    """Found by the fault laboratory: asyncio logged, to stderr, an exception that was never retrieved."""
    opened, read, complaints = threading.Event(), threading.Event(), list[object]()

    async def run(url: str) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        async with AiohttpTransport() as transport:
            async with transport.open(HttpRequest("GET", url)) as response:
                opened.set()
                assert b"".join([data async for data in response.chunks()]) == b"{}"
            (idle,) = (held for held in gc.get_objects() if isinstance(held, ResponseHandler) and held.is_connected())
            read.set()
            assert (closed := idle.closed) is not None
            assert (await asyncio.wait([closed], timeout=PATIENCE))[0]  # which retrieves nothing
            # Closing the session would retrieve it, of a connection that is still kept.
            async with transport.open(HttpRequest("GET", url)) as response:
                assert response.status == 204

    # The body comes behind the head: a response that comes at once has no connection any more when it is looked at.
    with ScriptedServer(
        [head(200, {"Content-Length": "2"}), Await(opened), b"{}", Await(read), Reset()], [head(204)]
    ) as server:
        asyncio.run(run(server.url))
    gc.collect()
    assert complaints == []


def test_closing_ends_idle_connections_while_somebody_keeps_an_error(make: MakeTransport) -> None:
    """urllib3's errors refer to the pool of the connection that failed, which would close the others when collected."""
    with ScriptedServer([Hold()], [head(204), NextRequest()]) as server:
        with closing(make(read_timeout=0.1)) as transport:
            with pytest.raises(TransportTimeout) as kept, transport.open(HttpRequest("GET", f"{server.url}/late")):
                pass
            with transport.open(HttpRequest("GET", f"{server.url}/x", read_timeout=PATIENCE)) as response:
                assert response.status == 204
        assert kept.value is not None
        assert server.wait_for_open(0, 10.0)  # the server itself waits twice as long for a next request


NO_CONTENT = head(204)
SMALL = Reused(bytes(300_000))


def lost(make: MakeTransport, *requests: HttpRequest, **options: object) -> ConnectionLost:
    """Send *requests*; return how the connection of the last one was lost."""
    with closing(make(**options)) as transport:
        for request in requests[:-1]:
            with transport.open(request) as response:
                assert b"".join(response.chunks()) == b""
        with pytest.raises(ConnectionLost) as caught, transport.open(requests[-1]):
            pass
        return caught.value


@pytest.mark.parametrize("end", [[], [Reset()]], ids=["closed", "reset"])
@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b""), ("PUT", b"{}"), ("PATCH", SMALL)])
def test_a_kept_connection_that_ends_without_a_word_is_unread(
    make: MakeTransport,
    certificates: Certificates,
    method: str,
    body: RequestBody,
    end: list[Step],
) -> None:
    script: list[Step] = [NO_CONTENT, NextRequest(), *end]
    for context in (None, certificates.server_context()):
        with ScriptedServer(script, tls=context) as server:
            requests = HttpRequest("GET", server.url), HttpRequest(method, server.url, body=body)
            assert lost(make, *requests, ca_file=certificates.ca_file).unread
            assert server.accepted == 1


def test_a_proxys_kept_connection_that_ends_without_a_word_is_unread(
    make: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([NO_CONTENT, NextRequest()]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        url = "http://registry.example.com/v2/"
        assert lost(make, HttpRequest("GET", url), HttpRequest("PUT", url, body=SMALL)).unread
        assert proxy.accepted == 1


def test_a_new_connection_that_ends_without_a_word_is_not_unread(make: MakeTransport) -> None:
    with ScriptedServer(()) as server:
        assert not lost(make, HttpRequest("PUT", server.url, body=SMALL)).unread


@pytest.mark.parametrize("begun", [b"HTTP/1.1 2", head(100), b"HTTP/1.1 200 Fine\r\nContent-"])
def test_a_response_that_has_begun_shows_that_the_request_was_read(make: MakeTransport, begun: bytes) -> None:
    with ScriptedServer([NO_CONTENT, NextRequest(), begun, Reset()]) as server:
        assert not lost(make, *[HttpRequest("GET", server.url)] * 2).unread


def test_a_body_that_no_buffers_hold_was_read(make: MakeTransport) -> None:
    with ScriptedServer([NO_CONTENT, NextRequest()]) as server:
        request = HttpRequest("PATCH", server.url, body=Reused(bytes(5 << 20)))
        assert not lost(make, HttpRequest("GET", server.url), request).unread
        assert len(server.requests) == 2  # the second one was read whole


def test_another_request_gets_a_new_connection(make: MakeTransport) -> None:
    with ScriptedServer([NO_CONTENT, NextRequest()], [NO_CONTENT]) as server, closing(make()) as transport:
        request = HttpRequest("PUT", server.url, body=SMALL)
        with transport.open(HttpRequest("GET", server.url)):
            pass
        with pytest.raises(ConnectionLost), transport.open(request):
            pass
        with transport.open(request) as response:
            assert response.status == 204
        assert [len(sent.body) for sent in server.requests] == [0, 300_000, 300_000]


def test_a_proxy_that_closes_a_new_connection_was_reached(make: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert not lost(make, HttpRequest("PUT", "http://registry.example.com/v2/", body=SMALL)).unread


def test_a_fresh_request_gets_a_new_connection_which_is_kept(make: MakeTransport) -> None:
    script: list[Step] = [head(200, EMPTY), NextRequest()] * 3
    with ScriptedServer(script) as server, closing(make()) as transport:
        for fresh in (False, True, True, False):
            request = HttpRequest("PUT", server.url, body=SMALL, fresh=fresh)
            with transport.open(request) as response:
                assert b"".join(response.chunks()) == b""
        assert server.accepted == 3


SURPLUS = b"Client sent an HTTP request to an HTTPS server.\n"


@pytest.mark.parametrize(
    "said",
    [
        [b"HTTP/1.0 400 Bad Request\r\n\r\n" + SURPLUS],
        [head(400, {"Content-Length": "48", "Connection": "close"}), Await(threading.Event(), 0.05), SURPLUS],
        [head(103) + head(400, {"Content-Length": "48", "Connection": "close"}) + SURPLUS],
        [b"HTTP/1.0 400 Bad", Await(threading.Event(), 0.05), b" Request\r\n\r\n" + SURPLUS],
    ],
    ids=["at once", "later", "interim", "cut"],
)
def test_a_body_behind_the_response_to_a_head_request_is_nothing(make: MakeTransport, said: list[Step]) -> None:
    with ScriptedServer(said, [NO_CONTENT]) as server, closing(make()) as transport:
        with transport.open(HttpRequest("HEAD", server.url)) as response:
            assert (response.status, b"".join(response.chunks())) == (400, b"")
        with transport.open(HttpRequest("GET", server.url)) as response:
            assert response.status == 204
        assert server.accepted == 2
