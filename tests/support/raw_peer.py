"""A peer on a raw socket that may stop in the middle of a request, which a scripted server reads whole."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs

__all__ = ["PATIENCE", "Peer", "Zeros", "serving"]

PATIENCE: Final = 5.0
_MIB: Final = 1 << 20


@attrs.define
class Zeros:
    """A body of zeros in one reused buffer.

    Attributes:
        given: Bytes that were asked for so far.
    """

    length: int
    given: int = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[memoryview]:
        self.given = 0
        buffer = memoryview(bytearray(256 * 1024))
        while size := min(len(buffer), self.length - self.given):
            self.given += size
            yield buffer[:size]


class Peer:
    """One connection, seen from the server.

    Attributes:
        url: Where it listens.
        received: Bytes of bodies read so far.
        heads: The request heads read so far.
        gone: Set when the client has closed the connection.
        release: What a peer that holds may wait for; set at the end of the block.
        responded: What a client may wait for.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.received = 0
        self.heads: list[str] = []
        self.gone = threading.Event()
        self.release = threading.Event()
        self.responded = threading.Event()
        self._connection: socket.socket
        self._held = b""

    def attach(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection

    def head(self) -> None:
        """Read a request's head."""
        while b"\r\n\r\n" not in self._held:
            if not (data := self._read()):
                raise ConnectionError("the client has left")
            self._held += data
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        self.heads.append(head.decode("latin-1"))

    def body(self, length: int) -> None:
        """Read *length* bytes, or what there is of them."""
        left = length - len(self._held[:length])
        self._held = self._held[length:]
        while left and (data := self._read(left)):
            left -= len(data)
        self.received += length - left

    def response(self, status: int, *fields: str, body: bytes = b"") -> None:
        """Send a whole answer."""
        lines = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body)}", *fields]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def shut(self) -> None:
        """Say that nothing more will be sent."""
        if not isinstance(self._connection, ssl.SSLSocket):  # whose shutdown() ends both directions
            self._connection.shutdown(socket.SHUT_WR)

    def _read(self, at_most: int = _MIB) -> bytes:
        data = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            data = self._connection.recv(min(at_most, _MIB))
        if not data:
            self.gone.set()
        return data


@contextmanager
def serving(behave: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """Let *behave* play the server on the first connection; the connection is closed when it returns."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        peer = Peer(f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}/")
        thread = threading.Thread(target=_play, args=(listener, tls, peer, behave), daemon=True)
        thread.start()
        try:
            yield peer
        finally:
            peer.release.set()
            thread.join(PATIENCE)


def _play(listener: socket.socket, tls: ssl.SSLContext | None, peer: Peer, behave: Callable[[Peer], None]) -> None:
    connection, _address = listener.accept()
    with tls.wrap_socket(connection, server_side=True) if tls is not None else connection as wrapped:
        peer.attach(wrapped)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            behave(peer)
