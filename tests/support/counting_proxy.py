"""A TCP proxy in front of a registry: counts what of the bodies gets there, and acts at an exact byte of them."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final, Self

import attrs

__all__ = ["CountingProxy", "Passed"]

_READ_BYTES: Final = 256 * 1024
_MAX_HEAD_BYTES: Final = 64 * 1024
_PATIENCE_SECONDS: Final = 20.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_RST: Final = struct.pack("ii", 1, 0)  # l_onoff, l_linger: closing sends RST, see socket(7)


@attrs.frozen
class Passed:
    """One request that went through.

    Attributes:
        method: Upper case.
        path: With its query.
        head: The request's line and headers, as sent.
    """

    method: str
    path: str
    head: str = attrs.field(repr=False)


class CountingProxy:
    """Forwards connections; listens from construction on. Bodies must say their length.

    Args:
        target: ``"127.0.0.1:PORT"``; may be changed.
        added_header: A header line that each request gets on its way.
        serves: How many requests of a connection go through; the next one resets it, unread.
    """

    def __init__(self, target: str = "", *, added_header: str = "", serves: int | None = None) -> None:
        self.target = target
        self.serves = serves
        self._added = f"{added_header}\r\n".encode() if added_header else b""
        self._changed = threading.Condition()  # guards what follows
        self._links: set[_Link] = set()
        self._passed: list[Passed] = []
        self._body_bytes = 0
        self._connections = 0
        self._due: tuple[int, Callable[[], object]] | None = None
        self._losing = ""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        # A client that is killed leaves little behind that is still on its way.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ_BYTES)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Origin, without a trailing slash."""
        return f"http://{self.host}"

    @property
    def body_bytes(self) -> int:
        """Bytes of request bodies that were forwarded so far."""
        with self._changed:
            return self._body_bytes

    @property
    def connections(self) -> int:
        """How many connections clients have made so far."""
        with self._changed:
            return self._connections

    @property
    def passed(self) -> list[Passed]:
        """Every request so far, in order of arrival."""
        with self._changed:
            return list(self._passed)

    def at(self, more_bytes: int, action: Callable[[], object]) -> None:
        """Run *action* once, exactly when *more_bytes* more bytes of bodies were forwarded; nothing moves meanwhile."""
        with self._changed:
            self._due = (self._body_bytes + more_bytes, action)

    def cut(self) -> None:
        """Reset all connections."""
        with self._changed:
            links = list(self._links)
        for link in links:
            link.reset()

    def lose_answer(self, method: str) -> None:
        """Let the next *method* request through, but cut the connection instead of its answer."""
        with self._changed:
            self._losing = method

    def wait_until_idle(self) -> None:
        """Wait until the registry is done with all that was sent to it."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._links, _PATIENCE_SECONDS), "a connection stays open"

    def close(self) -> None:
        """Cut all connections and stop."""
        # Closing alone does not wake up accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_PATIENCE_SECONDS)
        self.cut()
        self.wait_until_idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            try:
                host, _, port = self.target.partition(":")
                registry = socket.create_connection((host, int(port)), _PATIENCE_SECONDS)
            except OSError:
                _reset(client)
                continue
            registry.settimeout(None)
            link = _Link(self, client, registry)
            with self._changed:
                self._links.add(link)
                self._connections += 1
            link.start()

    # What follows is for the links.

    def ended(self, link: _Link) -> None:
        with self._changed:
            self._links.discard(link)
            self._changed.notify_all()

    def head_of(self, head: bytes) -> tuple[bytes, bool]:
        """Note a request; return its head as it goes on, and whether its answer is to be lost."""
        text = head.decode("latin-1")
        method, path, _rest = text.split(" ", 2)
        with self._changed:
            self._passed.append(Passed(method, path, text))
            losing = self._losing == method
            if losing:
                self._losing = ""
        return head[:-2] + self._added + head[-2:], losing

    def room(self, wanted: int) -> int:
        """Return how much of a body may be forwarded before an action is due."""
        with self._changed:
            return wanted if self._due is None else max(0, min(wanted, self._due[0] - self._body_bytes))

    def forwarded(self, count: int) -> None:
        with self._changed:
            self._body_bytes += count
            due = self._due if self._due is not None and self._body_bytes >= self._due[0] else None
            if due is not None:
                self._due = None
        if due is not None:
            due[1]()


class _Link:
    """A client's connection and ours to the registry."""

    def __init__(self, proxy: CountingProxy, client: socket.socket, registry: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._registry = registry
        self._losing = False
        self._open = 2

    def start(self) -> None:
        for work in (self._requests, self._answers):
            threading.Thread(target=self._run, args=(work,), name="proxy-link", daemon=True).start()

    def reset(self) -> None:
        # Wakes up whoever reads; the sockets themselves are closed by the last of the two threads.
        for peer in (self._client, self._registry):
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                peer.shutdown(socket.SHUT_RDWR)

    def _run(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            work()
        self._leave()

    def _leave(self) -> None:
        with self._proxy._changed:
            self._open -= 1
            last = not self._open
        if last:
            self._client.close()
            self._registry.close()
            self._proxy.ended(self)

    def _answers(self) -> None:
        while data := self._registry.recv(_READ_BYTES):
            if self._losing:
                break
            self._client.sendall(data)
        self.reset() if self._losing else self._hang_up(self._client)

    def _requests(self) -> None:
        buffer = bytearray()
        served = 0
        try:
            while (head := self._head(buffer)) is not None:
                if served == self._proxy.serves:
                    self.reset()
                    return
                served += 1
                forwarded, losing = self._proxy.head_of(head)
                self._losing = self._losing or losing
                self._registry.sendall(forwarded)
                assert not _CHUNKED.search(head), "bodies must say their length"
                length = _LENGTH.search(head)
                if not self._body(buffer, int(length[1]) if length else 0):
                    break
        finally:
            self._hang_up(self._registry)

    def _head(self, buffer: bytearray) -> bytes | None:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            data = self._client.recv(_MAX_HEAD_BYTES)
            if not data:
                return None
            buffer += data
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        return head

    def _body(self, buffer: bytearray, left: int) -> bool:
        """Forward *left* bytes; ``False`` when the client breaks off."""
        block = memoryview(bytearray(_READ_BYTES))
        while left:
            count = min(left, len(buffer))
            if count:
                data = bytes(buffer[:count])
                del buffer[:count]
                self._forward(memoryview(data))
            else:
                count = self._client.recv_into(block, min(left, _READ_BYTES))
                if not count:
                    return False
                self._forward(block[:count])
            left -= count
        return True

    def _forward(self, data: memoryview) -> None:
        while data:
            room = self._proxy.room(len(data))
            self._registry.sendall(data[:room])
            self._proxy.forwarded(room)
            data = data[room:]

    @staticmethod
    def _hang_up(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    peer.close()
