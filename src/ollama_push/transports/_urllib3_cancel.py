"""Cancels a request that another thread waits in; urllib3 has no way to do that.

A thread that waits for a peer wakes up when the socket it waits on is shut down. So a request that is under way
holds the socket it uses, which the connections of :mod:`ollama_push.transports._urllib3_internals` tell it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final

from ollama_push.core.ports import HttpRequest
from ollama_push.transports._keeping import SentRequest

__all__ = ["SENT_HERE", "ActiveRequests", "CancellableRequest", "RequestCancelled", "note_socket"]


class RequestCancelled(ConnectionError):
    """The request was cancelled before it had a connection."""


class CancellableRequest:
    """A request under way.

    It holds a descriptor of its own for the request's socket: that one stays the same when TLS wraps the socket in
    another object, and no other thread can close it, after which its number could belong to another socket.

    Attributes:
        request: What is sent.
        cancelled: Whether it was cancelled.
        sent: How far it came.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.sent = SentRequest()
        self.cancelled = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def uses(self, sock: socket.socket) -> None:
        """Note that the request uses *sock* from now on, which need not be connected yet.

        Raises:
            RequestCancelled: The request was cancelled already.
        """
        with self._lock:
            self._close_descriptor()
            if self.cancelled:
                raise RequestCancelled
            # socket.fromfd(), as a TLS socket has no dup(), and one of TLS within TLS has no family either:
            # shutdown() does not depend on the family.
            self._socket = socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)

    def cancel(self) -> None:
        """Wake the thread that waits for the peer; does nothing once the request has ended."""
        with self._lock:
            self.cancelled = True
            if self._socket is not None:
                # This shuts down the TCP connection: shutdown() of a TLS socket would drop the TLS layer, and the
                # other thread would go on in plain text. A socket that is not connected raises ENOTCONN, on some
                # systems also one that is connecting.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Note that the request has ended; another may use its socket. Idempotent."""
        with self._lock:
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


SENT_HERE: Final[ContextVar[CancellableRequest | None]] = ContextVar("SENT_HERE", default=None)
"""The request that this thread sends: its connections are used for that one."""


def note_socket(sock: socket.socket) -> None:
    """Tell the request that this thread sends that it uses *sock*; see :meth:`CancellableRequest.uses`."""
    if (request := SENT_HERE.get()) is not None:
        request.uses(sock)


class ActiveRequests:
    """The requests of a transport that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: set[CancellableRequest] = set()

    @contextmanager
    def entered(self, request: HttpRequest) -> Iterator[CancellableRequest]:
        """Hold *request* as active for the block, which gets what can cancel it."""
        active = CancellableRequest(request)
        with self._lock:
            self._active.add(active)
        try:
            yield active
        finally:
            active.end()
            with self._lock:
                self._active.discard(active)

    def cancel(self, request: HttpRequest) -> None:
        """Cancel *request*: this very object, not one that is equal to it."""
        with self._lock:
            matching = [active for active in self._active if active.request is request]
        for active in matching:
            active.cancel()
