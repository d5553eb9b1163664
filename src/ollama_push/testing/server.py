"""A server that does exactly what a script says, down to the byte, on raw sockets.

No HTTP server would misbehave on request; this one has no idea of HTTP beyond reading one request. A
script is a sequence of steps for one connection; ``bytes`` stand for ``Send``.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import attrs

__all__ = [
    "Await",
    "Hangup",
    "Hold",
    "Pause",
    "ReceivedRequest",
    "Reset",
    "Script",
    "ScriptedServer",
    "Send",
    "Step",
    "chunk",
    "head",
    "json_answer",
    "lines_answer",
]

_PATIENCE_SECONDS: Final = 20.0
_LINGER_RST: Final = struct.pack("ii", 1, 0)  # l_onoff, l_linger: close() sends RST, see socket(7)


@attrs.frozen
class Send:
    """Send these bytes."""

    data: bytes


@attrs.frozen
class Pause:
    """Do nothing for so many seconds, or until the server stops."""

    seconds: float


@attrs.frozen
class Hold:
    """Keep the connection open without a byte until the peer hangs up or the server stops."""


@attrs.frozen
class Await:
    """Go on when the event is set, or the server stops: a script that waits for its test."""

    event: threading.Event


@attrs.frozen
class Reset:
    """Break the connection with RST."""


@attrs.frozen
class Hangup:
    """Close the connection in order (FIN). The end of every script does the same."""


Step = bytes | Send | Pause | Hold | Await | Reset | Hangup
Script = Sequence[Step]


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


class ScriptedServer:
    """Listens on a free loopback port from construction on and plays a script per connection.

    Args:
        scripts: The first connection gets the first script, and so on; the last one repeats.
        tls: Serve TLS with this context.

    Attributes:
        requests: Every request read so far, in order.
        peer_closed: Set when a peer hung up while a script was holding, pausing or sending.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts or ((),)
        self._tls = tls
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepted = 0
        self.requests: list[ReceivedRequest] = []
        self.peer_closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._acceptor = threading.Thread(target=self._accept, name="scripted-server", daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def close(self) -> None:
        """Stop: end all scripts, close all sockets, wait for all threads. Idempotent."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            # Wakes accept() on every platform, which close() alone does not.
            socket.create_connection(self._listener.getsockname(), 1).close()
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            connection, _address = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            script = self._scripts[min(self._accepted, len(self._scripts) - 1)]
            self._accepted += 1
            thread = threading.Thread(target=self._serve, args=(connection, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, script: Script) -> None:
        connection.settimeout(_PATIENCE_SECONDS)
        # OSError covers TLS and resets: a peer that leaves is what many scripts are for.
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
        with self._lock:
            self._connections.add(connection)
        try:
            request = _read_request(connection)
            if request is not None:
                with self._lock:
                    self.requests.append(request)
                for step in script:
                    self._play(connection, step)
        except OSError:
            self.peer_closed.set()
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _play(self, connection: socket.socket, step: Step) -> None:
        match step:
            case bytes():
                connection.sendall(step)
            case Send(data):
                connection.sendall(data)
            case Pause(seconds):
                self._stopping.wait(seconds)
            case Await(event):
                while not event.wait(0.02) and not self._stopping.is_set():
                    pass
            case Hold():
                self._hold(connection)
            case Reset():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
                connection.close()
            case Hangup():
                connection.shutdown(socket.SHUT_RDWR)

    def _hold(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        # close() shuts the socket down, which ends this recv() too.
        data = connection.recv(65536)
        while data:
            data = connection.recv(65536)
        if not self._stopping.is_set():
            self.peer_closed.set()


def head(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str | None = "application/x-ndjson",
    reason: str = "Scripted",
) -> bytes:
    """Return a response head; the body's framing is up to *headers* and what follows."""
    fields = {**({"Content-Type": content_type} if content_type else {}), **(headers or {})}
    return "".join(
        [f"HTTP/1.1 {status} {reason}\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]
    ).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return *data* as one chunk (RFC 9112, 7.1); empty data is the last chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def lines_answer(lines: Iterable[bytes], *, end: bool = True) -> list[Step]:
    """Return the script of a streamed answer: one chunk a line, newline added."""
    steps: list[Step] = [head(headers={"Transfer-Encoding": "chunked"}), *(chunk(line + b"\n") for line in lines)]
    return [*steps, chunk(b"")] if end else steps


def json_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Step]:
    """Return the script of a single JSON answer with its length."""
    fields = {"Content-Length": str(len(body)), **(headers or {})}
    return [head(status, fields, content_type="application/json; charset=utf-8") + body]


def _read_request(connection: socket.socket) -> ReceivedRequest | None:
    """Read one request with its body; ``None`` when the peer left before it was whole."""
    with connection.makefile("rb") as stream:
        first = stream.readline().decode("latin-1").split()
        if len(first) < 2:  # noqa: PLR2004 - method and target
            return None
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
                return None
        return ReceivedRequest(first[0], first[1], headers, body)
