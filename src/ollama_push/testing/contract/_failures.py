"""T7, T8, T9: how the network's failures are told."""

from __future__ import annotations

import socket
import threading
from functools import partial
from typing import Final

from ollama_push.core.errors import ConnectFailed, ConnectionLost, TransportError
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.answers import chunk, head
from ollama_push.testing.contract._clauses import (
    CHUNKED,
    Clause,
    Rig,
    ask,
    clause_into,
    expect,
    fetch,
    raised_by,
    read_until_error,
)
from ollama_push.testing.server import ScriptedServer
from ollama_push.testing.steps import Await, Reset, Step

__all__ = ["CLAUSES"]

CLAUSES: Final[list[Clause]] = []
_clause = partial(clause_into, CLAUSES)

_LINE: Final = b'{"status":"pushing manifest"}\n'


@_clause("T7", "no HTTP", "An answer that is no HTTP is a TransportError from the library's error.")
def _(rig: Rig) -> None:
    for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n"):
        with ScriptedServer([answer]) as server, rig.transport() as transport:
            error = raised_by(TransportError, lambda: fetch(transport, ask(server)))
        expect(error.__cause__ is not None, f"{type(error).__name__} has no cause; the answer was {answer!r}")


@_clause("T7", "broken framing", "A body that breaks its own framing is a TransportError from the library's error.")
def _(rig: Rig) -> None:
    # In one piece the library may not get as far as the first chunk.
    _received, error = read_until_error(rig, [CHUNKED + chunk(_LINE) + b"no size\r\n"], TransportError)
    expect(error.__cause__ is not None, f"{type(error).__name__} has no cause")
    _expect_failure(rig, CHUNKED + chunk(_LINE), b"no size\r\n", TransportError)


@_clause("T8", "refused", "A refused connection is ConnectFailed from the library's error and names the address.")
def _(rig: Rig) -> None:
    # Bound but not listening: nobody else can take the port meanwhile, and connecting is refused.
    with socket.socket() as taken, rig.transport() as transport:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        request = HttpRequest("POST", f"http://{address}/api/push")
        error = raised_by(ConnectFailed, lambda: fetch(transport, request))
    expect(address in str(error), f"the message does not name {address}: {error}")
    expect(error.__cause__ is not None, "ConnectFailed has no cause")


def _expect_failure(rig: Rig, start: bytes, breach: Step, kind: type[TransportError]) -> None:
    """Expect the line in *start*, and then what *breach*, done once the line has been seen, leads to."""
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
    expect(error.__cause__ is not None, f"{type(error).__name__} has no cause")


def _expect_loss(rig: Rig, script: list[Step], received: bytes = _LINE) -> None:
    got, _error = read_until_error(rig, script, ConnectionLost)
    expect(got == received, f"{got!r} was handed over before the failure, and not {received!r}")


@_clause("T9", "between chunks", "A chunked body without its last chunk is ConnectionLost.")
def _(rig: Rig) -> None:
    _expect_loss(rig, [CHUNKED, chunk(_LINE)])


@_clause("T9", "inside a chunk", "A chunk that is cut is ConnectionLost after what arrived of it.")
def _(rig: Rig) -> None:
    whole = chunk(_LINE + _LINE)
    _expect_loss(rig, [CHUNKED, whole[: whole.index(_LINE) + len(_LINE)]])


@_clause("T9", "inside a chunk's size", "A cut right inside a chunk's size is ConnectionLost.")
def _(rig: Rig) -> None:
    _expect_loss(rig, [CHUNKED, chunk(_LINE), b"1"])


@_clause("T9", "short of the length", "A body shorter than its Content-Length is ConnectionLost.")
def _(rig: Rig) -> None:
    _expect_loss(rig, [head(headers={"Content-Length": str(2 * len(_LINE))}), _LINE])
    _expect_loss(rig, [head(headers={"Content-Length": "5"})], b"")


@_clause("T9", "reset", "A connection that is reset is ConnectionLost.")
def _(rig: Rig) -> None:
    _expect_failure(rig, CHUNKED + chunk(_LINE), Reset(), ConnectionLost)
    _expect_failure(rig, head(headers={"Content-Length": "99"}) + _LINE, Reset(), ConnectionLost)


@_clause("T9", "reset, close-delimited", "A body that ends with the connection is not whole when that is reset.")
def _(rig: Rig) -> None:
    _expect_failure(rig, head(headers={"Connection": "close"}) + _LINE, Reset(), ConnectionLost)


@_clause("T9", "end of connection", "A body without length or chunks is whole when the connection ends.")
def _(rig: Rig) -> None:
    with ScriptedServer([head(headers={"Connection": "close"}), _LINE]) as server, rig.transport() as transport:
        body = fetch(transport, ask(server)).body
    expect(body == _LINE, f"{_LINE!r} was handed over as {body!r}")


@_clause("T9", "no body", "An answer that has no body is whole, whatever length it announces.")
def _(rig: Rig) -> None:
    for method, status in (("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)):
        answer = head(status, {} if status == 204 else {"Content-Length": "5"})  # noqa: PLR2004 - RFC 9110, 8.6
        with ScriptedServer([answer]) as server, rig.transport() as transport:
            got = fetch(transport, ask(server, method))
        expect(got.status == status, f"{status} was handed over as {got.status}")
        expect(got.body == b"", f"the answer to {method} had the body {got.body!r}")
