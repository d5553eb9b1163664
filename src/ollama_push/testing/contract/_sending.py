"""T1: what a transport sends. T10, T11: how a request ends whose body the peer does not read, or whose body raises."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from ollama_push.core.errors import ConnectionLost, MachineMisuse, TransportTimeout
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.contract._clauses import (
    ClauseList,
    ForeignError,
    Rig,
    ask,
    expect,
    expect_passage,
    fetch,
    plain,
    raised_by,
)
from ollama_push.testing.server import NextRequest, ReceivedRequest, ScriptedServer, Step, head

__all__ = ["SENDING_CLAUSES"]

SENDING_CLAUSES: Final = ClauseList()
_clause = SENDING_CLAUSES.add

_PIECE: Final = 65_536
_SHORT: Final = 0.15
# More than the send and receive buffers of the kernel hold on loopback, so that the transport must wait for the peer.
_LARGE: Final = bytes(range(256)) * (512 * _PIECE // 256)


class _Body:
    """A body as the port allows it: each buffer is valid until the next one is requested.

    Raises *error* instead of the last buffer.
    """

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self._data, self._error = data, error

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[memoryview]:
        buffer = bytearray(_PIECE)
        for start in range(0, len(self._data), _PIECE):
            piece = self._data[start : start + _PIECE]
            if self._error is not None and start + len(piece) == len(self._data):
                raise self._error
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
    seen = _received(rig, HttpRequest("PUT", "/", body=_Body(_LARGE)))
    _expect_length(seen)
    expect(len(seen.body) == len(_LARGE), f"{len(seen.body)} bytes of {len(_LARGE)} arrived")
    expect(seen.body == _LARGE, "the body arrived with other bytes: a buffer was used after the next one was asked for")


@_clause("T1", "empty body", "An empty body is no body, and not a chunked one.")
def _sends_no_body_when_it_is_empty(rig: Rig) -> None:
    for body in (b"", _Body(b"")):
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
            raised_by(ConnectionLost, lambda: fetch(transport, ask(server, method)))  # noqa: B023 - called at once
            _expect_arrived(server, 1)


@_clause("T1", "once, kept connection", "A request is sent once, even when a connection that was kept drops.")
def _sends_once_on_a_kept_connection(rig: Rig) -> None:
    first: list[Step] = [plain(b""), NextRequest()]
    for method in ("GET", "POST", "PUT"):
        with ScriptedServer(first, ()) as server, rig.transport() as transport:
            fetch(transport, ask(server, method))
            raised_by(ConnectionLost, lambda: fetch(transport, ask(server, method)))  # noqa: B023 - called at once
            _expect_arrived(server, 2)


def _expect_length(seen: ReceivedRequest) -> None:
    expect("transfer-encoding" not in seen.headers, "the body was sent in chunks")
    length = seen.headers.get("content-length")
    expect(length == str(len(seen.body)), f"{len(seen.body)} bytes were announced as {length}")


def _expect_arrived(server: ScriptedServer, count: int) -> None:
    methods = " ".join(request.method for request in server.requests)
    expect(len(server.requests) == count, f"{len(server.requests)} requests arrived, and not {count}: {methods}")


class _Reader:
    """A peer that reads one request's body once ``begin`` is set, and counts the bytes."""

    def __init__(self, listener: socket.socket, length: int, patience: float) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        self.read_bytes = 0
        self.begin = threading.Event()
        self.gone = threading.Event()
        self._listener, self._length, self._patience = listener, length, patience

    def run(self) -> None:
        with contextlib.suppress(TimeoutError):  # no connection came, or it was not closed
            connection, _address = self._listener.accept()
            with connection:
                connection.settimeout(self._patience)
                self._read(connection)
            self.gone.set()

    def _read(self, connection: socket.socket) -> None:
        held = connection.recv(1)
        while b"\r\n\r\n" not in held and (data := connection.recv(1)):
            held += data
        self.begin.wait(self._patience)
        with contextlib.suppress(ConnectionError):  # a reset is a disconnect too
            while self.read_bytes < self._length and (data := connection.recv(_PIECE)):
                self.read_bytes += len(data)
        if self.read_bytes == self._length:
            connection.sendall(plain(b""))


@contextmanager
def _reader(rig: Rig, body: _Body) -> Iterator[_Reader]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(rig.patience)
        reader = _Reader(listener, len(body), rig.patience)
        thread = threading.Thread(target=reader.run, daemon=True)
        thread.start()
        try:
            yield reader
        finally:
            reader.begin.set()
            thread.join()


def _expect_disconnect(reader: _Reader, body: _Body, rig: Rig) -> None:
    reader.begin.set()
    expect(reader.gone.wait(rig.patience), "the peer never saw the connection close")
    expect(reader.read_bytes < len(body), "the request arrived whole")


@_clause("T10", "while sending", "A peer that takes nothing of the body is TransportTimeout.")
def _times_out_while_sending(rig: Rig) -> None:
    body = _Body(_LARGE)
    with _reader(rig, body) as reader, rig.transport() as transport:
        request = HttpRequest("PUT", reader.url, body=body, read_timeout=_SHORT)
        raised_by(TransportTimeout, lambda: fetch(transport, request))
        _expect_disconnect(reader, body, rig)


def _expect_body_to_pass(rig: Rig, error: Exception) -> None:
    body = _Body(bytes(3 * _PIECE), error)
    with _reader(rig, body) as reader, rig.transport() as transport:
        expect_passage(error, lambda: fetch(transport, HttpRequest("PUT", reader.url, body=body)))
        _expect_disconnect(reader, body, rig)


@_clause(
    "T11", "the body's errors", "An error raised by the body passes through untouched, and the connection is gone."
)
def _passes_errors_of_the_body(rig: Rig) -> None:
    for error in (ForeignError("mine"), MachineMisuse("mine")):
        _expect_body_to_pass(rig, error)


@_clause("T11", "the body's look-alikes", "An error raised by the body is not taken for the network's.")
def _takes_no_error_of_the_body_for_the_networks(rig: Rig) -> None:
    for kind in (OSError, BrokenPipeError, ConnectionResetError, TimeoutError, ValueError, RuntimeError, EOFError):
        _expect_body_to_pass(rig, kind("mine"))
