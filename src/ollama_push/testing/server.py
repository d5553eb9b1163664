"""A server that does exactly what a script says, down to the byte, on raw sockets.

An HTTP server cannot be made to send broken HTTP; this one knows of HTTP only how to read a request. A script
is a sequence of steps for one connection; ``bytes`` are sent as they are.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import struct
import threading
from asyncio.trsock import TransportSocket
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import attrs

__all__ = [
    "Await",
    "Hangup",
    "Hold",
    "NextRequest",
    "Pause",
    "ReceivedRequest",
    "Reset",
    "Script",
    "ScriptedServer",
    "Step",
    "chunk",
    "head",
    "json_answer",
    "lines_answer",
    "reset_on_close",
]

_PATIENCE_SECONDS: Final = 20.0
_LINGER_ON_FOR_0_S: Final = struct.pack("ii", 1, 0)  # struct linger: l_onoff, l_linger


@attrs.frozen
class Pause:
    """Wait for so many seconds, or until the server stops."""

    seconds: float


@attrs.frozen
class Hold:
    """Keep the connection open and send nothing until the peer disconnects or the server stops.

    Attributes:
        seconds: Continue after this time at the latest.
    """

    seconds: float = math.inf


@attrs.frozen
class Await:
    """Wait until the event is set, or the server stops: a script that waits for its test.

    Attributes:
        event: What to wait for.
        seconds: Continue after this time at the latest.
    """

    event: threading.Event
    seconds: float = math.inf


@attrs.frozen
class NextRequest:
    """Read another request on this connection; a peer that disconnects instead ends the script."""


@attrs.frozen
class Reset:
    """Close the connection with RST."""


@attrs.frozen
class Hangup:
    """Close the connection with FIN and without (more of) a response. The end of every script does the same."""


Step = bytes | Pause | Hold | Await | NextRequest | Reset | Hangup
Script = Sequence[Step]


def head(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str | None = "application/x-ndjson",
    reason: str = "Scripted",
) -> bytes:
    """Return a response head; *headers* and the steps that follow frame the body."""
    fields = {**({"Content-Type": content_type} if content_type else {}), **(headers or {})}
    return "".join(
        [f"HTTP/1.1 {status} {reason}\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]
    ).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return *data* as one chunk (RFC 9112, 7.1); empty data is the last chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def lines_answer(lines: Iterable[bytes], *, end: bool = True) -> list[Step]:
    """Return the script of a streamed response: one chunk a line, newline added."""
    steps: list[Step] = [
        head(headers={"Transfer-Encoding": "chunked", "Connection": "close"}),
        *(chunk(line + b"\n") for line in lines),
    ]
    return [*steps, chunk(b"")] if end else steps


def json_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Step]:
    """Return the script of a single JSON response with its length."""
    fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    return [head(status, fields, content_type="application/json; charset=utf-8") + body]


@attrs.frozen
class ReceivedRequest:
    """One request as it arrived.

    Attributes:
        method: Upper case as sent.
        target: Path and query.
        headers: Names in lower case; repeated ones joined with ``", "``.
        body: Decoded from its framing.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class _NoRequest(Exception):
    """The peer disconnected instead of sending another request, which ends the script."""


class ScriptedServer:
    """Listens on a free loopback port from construction on and plays a script per connection.

    Args:
        scripts: The first connection's request gets the first script, and so on; the last one repeats.
        answers: Scripts by target (such as ``"/api/tags"``): every request for it gets that script, which
            does not count as one of *scripts*.
        tls: Serve TLS with this context.

    Attributes:
        port: The TCP port.
        url: Base URL, without a trailing slash.
        accepted: How many connections were accepted so far.
        requests: Every request read so far, in order.
        peer_closed: Set when a peer disconnected while a script was holding, pausing or sending.
    """

    def __init__(
        self, *scripts: Script, answers: Mapping[str, Script] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._scripts = scripts or ((),)
        self._answers = answers or {}
        self._played = 0
        self._tls = tls
        self._changed = threading.Condition()  # guards what follows
        self._connections: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.accepted: int = 0
        self.requests: list[ReceivedRequest] = []
        self.peer_closed: threading.Event = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._listener.getsockname()[1]
        self.url: str = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, name="scripted-server", daemon=True)
        self._acceptor.start()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def wait_for_open(self, at_most: int, seconds: float) -> bool:
        """Wait until no more than *at_most* connections are open; ``False`` when it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._connections) <= at_most, seconds)

    def wait_for_request(self, seconds: float) -> bool:
        """Wait until a request was read; ``False`` when it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self.requests), seconds)

    def close(self) -> None:
        """Cancel all scripts, close all sockets, wait for all threads. Idempotent."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            # Wakes accept() on every platform, which close() alone does not.
            socket.create_connection(self._listener.getsockname(), 1).close()
        self._acceptor.join()
        self._listener.close()
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            connection, _address = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            if self._tls is not None:
                try:
                    # The connection's own thread does the handshake, so that a peer that stalls in it delays no other.
                    connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                except OSError:  # the peer has disconnected already
                    connection.close()
                    continue
            with self._changed:
                # Not in the thread of the connection: close() must find every connection that was accepted.
                self._connections.add(connection)
                self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_PATIENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            for step in self._script_for(self._receive(connection)):
                if self._stopping.is_set():
                    break
                self._play(connection, step)
        except _NoRequest:
            pass
        except OSError:
            # Expected: many scripts are for peers that disconnect, or that cancel the TLS handshake.
            if not self._stopping.is_set():
                self.peer_closed.set()
        finally:
            # Closed before it counts as closed: wait_for_open() promises that the peer can see the end.
            connection.close()
            with self._changed:
                self._connections.discard(connection)
                self._changed.notify_all()

    def _script_for(self, request: ReceivedRequest) -> Script:
        if request.target in self._answers:
            return self._answers[request.target]
        with self._changed:
            self._played += 1
            return self._scripts[min(self._played, len(self._scripts)) - 1]

    def _play(self, connection: socket.socket, step: Step) -> None:
        match step:
            case bytes():
                connection.sendall(step)
            case Pause(seconds):
                self._stopping.wait(seconds)
            case Await(event, seconds):
                self._await(event, seconds)
            case Hold(seconds):
                self._hold(connection, seconds)
            case NextRequest():
                self._receive(connection)
            case Reset():
                reset_on_close(connection)
                connection.close()
            case Hangup():
                connection.shutdown(socket.SHUT_RDWR)

    def _await(self, event: threading.Event, seconds: float) -> None:
        waited = 0.0
        while not event.wait(0.02) and waited < seconds and not self._stopping.is_set():
            waited += 0.02

    def _hold(self, connection: socket.socket, seconds: float) -> None:
        connection.settimeout(None if seconds == math.inf else seconds)
        with contextlib.suppress(TimeoutError):
            # Also ends when close() shuts the socket down.
            while connection.recv(65536):
                pass
            if not self._stopping.is_set():
                self.peer_closed.set()
        connection.settimeout(_PATIENCE_SECONDS)

    def _receive(self, connection: socket.socket) -> ReceivedRequest:
        request = _read_request(connection)
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return request


def _read_request(connection: socket.socket) -> ReceivedRequest:
    """Read one request with its body."""
    with connection.makefile("rb") as stream:
        first = stream.readline().decode("latin-1").split()
        if len(first) < 2:  # noqa: PLR2004 - method and target
            raise _NoRequest
        headers: dict[str, str] = {}
        while (line := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = line.partition(":")
            name = name.strip().lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(stream.readline().split(b";")[0], 16):
                body += stream.read(size)
                stream.readline()
            stream.readline()
        else:
            length = int(headers.get("content-length", "0"))
            body = stream.read(length)
            if len(body) < length:
                raise _NoRequest
        return ReceivedRequest(first[0], first[1], headers, body)


def reset_on_close(connection: socket.socket | TransportSocket) -> None:
    """Let the end of *connection* be an RST instead of a FIN.

    Source: socket(7), ``SO_LINGER``; a linger time of 0 discards what is unsent.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ON_FOR_0_S)
