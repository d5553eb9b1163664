"""T1: what a transport sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from ollama_push.core.errors import ConnectionLost
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.answers import head
from ollama_push.testing.contract._clauses import ClauseList, Rig, ask, expect, fetch, plain, raised_by
from ollama_push.testing.server import ReceivedRequest, ScriptedServer
from ollama_push.testing.steps import NextRequest, Step

__all__ = ["REQUEST_CLAUSES"]

REQUEST_CLAUSES: Final = ClauseList()
_clause = REQUEST_CLAUSES.add

# More than the kernel buffers on loopback, so that the transport must wait for the peer.
_LARGE: Final = bytes(range(251)) * 33_500
_PIECE: Final = 65_536


class _ReusedBuffer:
    """A body as the port allows it: each buffer is valid until the next one is requested."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[memoryview]:
        buffer = bytearray(_PIECE)
        for start in range(0, len(self._data), _PIECE):
            piece = self._data[start : start + _PIECE]
            buffer[: len(piece)] = piece
            yield memoryview(buffer)[: len(piece)]
        buffer[:] = bytes(_PIECE)


def _received(rig: Rig, request: HttpRequest) -> ReceivedRequest:
    """Return *request* as it arrived; its URL is path and query only."""
    with ScriptedServer([plain(b"")]) as server, rig.transport() as transport:
        fetch(transport, attrs.evolve(request, url=server.url + request.url))
        expect(len(server.requests) == 1, f"{len(server.requests)} requests arrived")
        return server.requests[0]


@_clause("T1", "as given", "Method, target, headers and body arrive as given.")
def _sends_the_request_as_given(rig: Rig) -> None:
    target = "/v2/team%2Fdemo/blobs/uploads/a~b?_state=x%2By%3D%3D&digest=sha256%3Aab&empty=&plus=a+b"
    headers = {"Content-Type": "application/json", "X-Mixed-Case": 'a, b;c="d"', "Authorization": "Bearer t"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        seen = _received(rig, HttpRequest(method, target, headers, b'{"model":"team/demo"}'))
        expect(seen.method == method, f"{method} arrived as {seen.method}")
        expect(seen.target == target, f"the target arrived as {seen.target}")
        for name, value in headers.items():
            expect(seen.headers.get(name.lower()) == value, f"{name} arrived as {seen.headers.get(name.lower())!r}")
        expect(seen.body == b'{"model":"team/demo"}', f"the body arrived as {seen.body!r}")
        _expect_length(seen)


@_clause("T1", "sized body", "A sized body of reused buffers arrives whole, with its length and not in chunks.")
def _sends_reused_buffers_with_their_length(rig: Rig) -> None:
    seen = _received(rig, HttpRequest("PUT", "/", body=_ReusedBuffer(_LARGE)))
    _expect_length(seen)
    expect(len(seen.body) == len(_LARGE), f"{len(seen.body)} bytes of {len(_LARGE)} arrived")
    expect(seen.body == _LARGE, "the body arrived with other bytes: a buffer was used after the next one was asked for")


@_clause("T1", "empty body", "An empty body is no body, and not a chunked one.")
def _sends_no_body_when_it_is_empty(rig: Rig) -> None:
    for body in (b"", _ReusedBuffer(b"")):
        seen = _received(rig, HttpRequest("POST", "/", body=body))
        expect(seen.body == b"", f"{len(seen.body)} bytes arrived")
        expect("transfer-encoding" not in seen.headers, "an empty body was sent in chunks")
        length = seen.headers.get("content-length", "0")
        expect(length == "0", f"an empty body was announced with {length} bytes")


@_clause("T1", "no codings", "No content coding is asked for unless the request does.")
def _asks_for_no_content_coding(rig: Rig) -> None:
    codings = _received(rig, HttpRequest("GET", "/")).headers.get("accept-encoding", "identity")
    expect(codings == "identity", f"the request arrived with Accept-Encoding: {codings}")


@_clause("T1", "no memory", "Nothing an answer says is added to later requests, cookies included.")
def _adds_nothing_to_later_requests(rig: Rig) -> None:
    response = head(headers={"Set-Cookie": "sid=1; Path=/", "Content-Length": "0"})
    with ScriptedServer([response, NextRequest(), response]) as server, rig.transport() as transport:
        fetch(transport, ask(server))
        fetch(transport, ask(server))
        first, second = (request.headers for request in server.requests)
        expect(first == second, f"the second request arrived with {set(second.items()) ^ set(first.items())}")


@_clause("T1", "once", "A request is sent once, even when the connection drops before the answer.")
def _sends_once(rig: Rig) -> None:
    for method in ("GET", "POST", "PUT"):
        with ScriptedServer(()) as server, rig.transport() as transport:
            _expect_loss(lambda: fetch(transport, ask(server, method, body=b"")))  # noqa: B023 - called at once
            _expect_arrived(server, 1)


@_clause("T1", "once, kept connection", "A request is sent once, even when a connection that was kept drops.")
def _sends_once_on_a_kept_connection(rig: Rig) -> None:
    first: list[Step] = [plain(b""), NextRequest()]
    for method in ("GET", "POST", "PUT"):
        with ScriptedServer(first, ()) as server, rig.transport() as transport:
            fetch(transport, ask(server, method))
            _expect_loss(lambda: fetch(transport, ask(server, method)))  # noqa: B023 - called at once
            _expect_arrived(server, 2)


def _expect_length(seen: ReceivedRequest) -> None:
    expect("transfer-encoding" not in seen.headers, "the body was sent in chunks")
    length = seen.headers.get("content-length")
    expect(length == str(len(seen.body)), f"{len(seen.body)} bytes were announced as {length}")


def _expect_loss(action: Callable[[], object]) -> None:
    error = raised_by(ConnectionLost, action)
    expect(error.__cause__ is not None, "ConnectionLost was raised without the library's error as its cause")


def _expect_arrived(server: ScriptedServer, count: int) -> None:
    methods = " ".join(request.method for request in server.requests)
    expect(len(server.requests) == count, f"{len(server.requests)} requests arrived, and not {count}: {methods}")
