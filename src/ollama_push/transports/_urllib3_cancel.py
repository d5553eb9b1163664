"""Lets a thread break off a request that another one waits in; urllib3 has no way to do that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ollama_push.core.ports import HttpRequest

__all__ = ["ActiveRequests", "CancellableRequest", "RequestCancelled"]


class RequestCancelled(ConnectionError):
    """The request was broken off before it had a connection."""


class CancellableRequest:
    """What one request goes over, from its begin to its end.

    It holds a descriptor of its own for the request's socket: that one stays the same while TLS puts another
    object around the socket, and no other thread can close it and have its number taken by a stranger's.

    Attributes:
        request: What is sent.
        broken: Whether it was broken off.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.broken = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def goes_over(self, sock: socket.socket) -> None:
        """Note that the request is sent over *sock* from now on, which need not be connected yet.

        Raises:
            RequestCancelled: It was broken off already.
        """
        with self._lock:
            self._let_go()
            if self.broken:
                raise RequestCancelled
            # Sockets of TLS have no dup(), and those of TLS within TLS no family, which shutdown() does not ask for.
            self._socket = socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)

    def break_off(self) -> None:
        """Wake the thread that waits for the peer; does nothing once the request is over."""
        with self._lock:
            self.broken = True
            if self._socket is not None:
                # Below TLS, whose own shutdown() would let the other thread go on in the clear. A socket that
                # is not connected refuses, on some systems also one that is just connecting.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Note that the request is over; its socket may get another one. Idempotent."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Here(threading.local):
    line: CancellableRequest | None = None


class ActiveRequests:
    """The requests that are under way; a connection asks it which one it is used for."""

    def __init__(self) -> None:
        self._here = _Here()
        self._lock = threading.Lock()
        self._open: set[CancellableRequest] = set()

    @contextmanager
    def opened(self, request: HttpRequest) -> Iterator[CancellableRequest]:
        """Yield the line of *request*, which is over after the block."""
        line = CancellableRequest(request)
        with self._lock:
            self._open.add(line)
        try:
            yield line
        finally:
            line.end()
            with self._lock:
                self._open.discard(line)

    @contextmanager
    def used(self, line: CancellableRequest) -> Iterator[None]:
        """Whatever connection this thread uses inside the block, it uses for *line*."""
        before, self._here.line = self._here.line, line
        try:
            yield
        finally:
            self._here.line = before

    def go_over(self, sock: socket.socket) -> None:
        """Note that what this thread sends now goes over *sock*; see :meth:`Line.goes_over`."""
        if self._here.line is not None:
            self._here.line.goes_over(sock)

    def break_off(self, request: HttpRequest) -> None:
        """Break off *request*: this very object, not one that is equal to it."""
        with self._lock:
            lines = [line for line in self._open if line.request is request]
        for line in lines:
            line.break_off()
