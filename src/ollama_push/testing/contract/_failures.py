"""T7, T8, T9: which errors the failures of the network become."""

from __future__ import annotations

import socket
import threading
from typing import Final

from ollama_push.core.errors import ConnectFailed, ConnectionLost, TransportError
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.answers import chunk, head
from ollama_push.testing.contract._clauses import (
    CHUNKED,
    ClauseList,
    Rig,
    ask,
    expect,
    expect_cause,
    fetch,
    raised_by,
    read_until_error,
)
from ollama_push.testing.server import ScriptedServer
from ollama_push.testing.steps import Await, Reset, Step

__all__ = ["FAILURE_CLAUSES"]

FAILURE_CLAUSES: Final = ClauseList()
_clause = FAILURE_CLAUSES.add

_LINE: Final = b'{"status":"pushing manifest"}\n'


@_clause("T7", "no HTTP", "An answer that is no HTTP is a TransportError from the library's error.")
def _raises_on_what_is_no_http(rig: Rig) -> None:
    for response in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n"):
        with ScriptedServer([response]) as server, rig.transport() as transport:
            error = raised_by(TransportError, lambda: fetch(transport, ask(server)))
        expect_cause(error, f"; the response was {response!r}")


@_clause("T7", "broken framing", "A body that breaks its own framing is a TransportError from the library's error.")
def _raises_on_broken_framing(rig: Rig) -> None:
    # If all arrives at once, a library may fail before it yields the first chunk; if not, the chunk must be yielded.
    _received, error = read_until_error(rig, [CHUNKED + chunk(_LINE) + b"no size\r\n"], TransportError)
    expect_cause(error)
    _expect_failure(rig, CHUNKED + chunk(_LINE), b"no size\r\n", TransportError)


@_clause("T8", "refused", "A refused connection is ConnectFailed from the library's error and names the address.")
def _raises_connect_failed_when_refused(rig: Rig) -> None:
    # Bound but not listening: no other process can take the port, and a connection to it is refused.
    with socket.socket() as taken, rig.transport() as transport:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        request = HttpRequest("POST", f"http://{address}/api/push")
        error = raised_by(ConnectFailed, lambda: fetch(transport, request))
    expect(address in str(error), f"the message does not name {address}: {error}")
    expect_cause(error)


def _expect_failure(rig: Rig, start: bytes, breach: Step, kind: type[TransportError]) -> None:
    """Expect the line in *start*, and then an error of *kind* after *breach*, which follows once the line was read."""
    received = threading.Event()
    got: list[bytes] = []

    def read() -> None:
        with transport.open(ask(server)) as response:
            for data in response.chunks():
                got.append(data)
                received.set()

    with ScriptedServer([start, Await(received, rig.patience), breach]) as server, rig.transport() as transport:
        error = raised_by(kind, read)
    expect(b"".join(got) == _LINE, f"{b''.join(got)!r} was handed over before the failure, and not {_LINE!r}")
    expect_cause(error)


def _expect_loss(rig: Rig, script: list[Step], received: bytes = _LINE) -> None:
    got, _error = read_until_error(rig, script, ConnectionLost)
    expect(got == received, f"{got!r} was handed over before the failure, and not {received!r}")


@_clause("T9", "between chunks", "A chunked body without its last chunk is ConnectionLost.")
def _raises_connection_lost_without_the_last_chunk(rig: Rig) -> None:
    _expect_loss(rig, [CHUNKED, chunk(_LINE)])


@_clause("T9", "inside a chunk", "A chunk that is cut is ConnectionLost after what arrived of it.")
def _raises_connection_lost_inside_a_chunk(rig: Rig) -> None:
    whole = chunk(_LINE + _LINE)
    _expect_loss(rig, [CHUNKED, whole[: whole.index(_LINE) + len(_LINE)]])


@_clause("T9", "inside a chunk's size", "A cut right inside a chunk's size is ConnectionLost.")
def _raises_connection_lost_inside_a_chunk_size(rig: Rig) -> None:
    _expect_loss(rig, [CHUNKED, chunk(_LINE), b"1"])


@_clause("T9", "short of the length", "A body shorter than its Content-Length is ConnectionLost.")
def _raises_connection_lost_short_of_the_length(rig: Rig) -> None:
    _expect_loss(rig, [head(headers={"Content-Length": str(2 * len(_LINE))}), _LINE])
    _expect_loss(rig, [head(headers={"Content-Length": "5"})], b"")


@_clause("T9", "reset", "A connection that is reset is ConnectionLost.")
def _raises_connection_lost_on_a_reset(rig: Rig) -> None:
    _expect_failure(rig, CHUNKED + chunk(_LINE), Reset(), ConnectionLost)
    _expect_failure(rig, head(headers={"Content-Length": "99"}) + _LINE, Reset(), ConnectionLost)


@_clause("T9", "reset, close-delimited", "A body that ends with the connection is not whole when that is reset.")
def _raises_connection_lost_on_a_reset_of_a_close_delimited_body(rig: Rig) -> None:
    _expect_failure(rig, head(headers={"Connection": "close"}) + _LINE, Reset(), ConnectionLost)


@_clause("T9", "end of connection", "A body without length or chunks is whole when the connection ends.")
def _ends_a_close_delimited_body_with_the_connection(rig: Rig) -> None:
    with ScriptedServer([head(headers={"Connection": "close"}), _LINE]) as server, rig.transport() as transport:
        body = fetch(transport, ask(server)).body
    expect(body == _LINE, f"{_LINE!r} was handed over as {body!r}")


@_clause("T9", "no body", "An answer that has no body is whole, whatever length it announces.")
def _expects_no_body_where_http_has_none(rig: Rig) -> None:
    for method, status in (("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)):
        response = head(status, {} if status == 204 else {"Content-Length": "5"})  # noqa: PLR2004 - RFC 9110, 8.6
        with ScriptedServer([response]) as server, rig.transport() as transport:
            got = fetch(transport, ask(server, method))
        expect(got.status == status, f"{status} was handed over as {got.status}")
        expect(got.body == b"", f"the response to {method} had the body {got.body!r}")
