"""Hangs up on a request, also on one that another thread waits in; urllib3 has no way to do either.

A thread that waits for a peer wakes up when the socket it waits on is shut down. And a peer learns of a closed socket
only when no process has it open any more; one that was forked meanwhile has a copy. So a request that is under way
holds the socket it uses, which the connections of :mod:`ollama_push.transports._urllib3_internals` tell it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final
from weakref import ref

from ollama_push.core.ports import HttpRequest
from ollama_push.transports._keeping import SentRequest

__all__ = ["SENT_HERE", "ActiveRequests", "CancellableRequest", "RequestCancelled", "note_socket", "shut_down"]


_CROWD: Final = 64
"""How many requests may be noted until those that are gone are looked for."""


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
        self._process = os.getpid()
        # A signal handler may cancel the request of the thread that it interrupts.
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None

    @property
    def has_socket(self) -> bool:
        """Whether a socket was noted."""
        return self._socket is not None

    def uses(self, sock: Any) -> None:
        """Note that the request uses *sock* from now on, which need not be connected yet.

        Raises:
            RequestCancelled: The request was cancelled already.
        """
        with self._lock:
            self.end()
            self._socket = _copy_of(sock)
            if self.cancelled:
                raise RequestCancelled

    def cancel(self) -> None:
        """Wake the thread that waits for the peer; does nothing once the request has ended."""
        with self._lock:
            self.cancelled = True
            if self._socket is not None and self._is_mine:
                shut_down(self._socket)

    def hang_up(self) -> None:
        """Note that the request has ended, and end its connection. Does nothing after ``end``. Idempotent."""
        with self._lock:
            if self._socket is not None and self._is_mine:
                shut_down(self._socket)
            self.end()

    def end(self) -> None:
        """Note that the request has ended; another may use its socket. Idempotent."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    @property
    def _is_mine(self) -> bool:
        """Whether this process opened the connection. A forked child leaves that of its parent alone."""
        return self._process == os.getpid()


SENT_HERE: Final[ContextVar[CancellableRequest | None]] = ContextVar("SENT_HERE", default=None)
"""The request that this thread sends: its connections are used for that one."""


def note_socket(sock: Any) -> None:
    """Tell the request that this thread sends that it uses *sock*; see :meth:`CancellableRequest.uses`."""
    if (request := SENT_HERE.get()) is not None:
        request.uses(sock)


def shut_down(sock: Any) -> None:
    """End the TCP connection of *sock* for every process that has it open.

    This shuts down the TCP connection: ``shutdown`` of a TLS socket would drop the TLS layer, and a thread that reads
    from it would go on in plain text. A socket that is not connected raises ENOTCONN, on some systems also one that is
    connecting.
    """
    with suppress(OSError), _copy_of(sock) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def _copy_of(sock: Any) -> socket.socket:
    """Return a plain socket for the descriptor of *sock*.

    ``socket.fromfd``, as a TLS socket has no ``dup``, and one of TLS within TLS has no family either: ``shutdown`` does
    not depend on the family.
    """
    return socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)


class ActiveRequests:
    """The requests of a transport that are under way."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # Weak: of a block that is never entered, nothing remains. No WeakSet, whose callbacks are code in Python: what
        # a signal handler raises in one is lost.
        self._active: set[ref[CancellableRequest]] = set()
        self._crowded = _CROWD

    def add(self, request: HttpRequest) -> CancellableRequest:
        """Return what can cancel *request*, which ``cancel`` knows from now on."""
        active = CancellableRequest(request)
        with self._lock:
            if len(self._active) >= self._crowded:
                self._active = {each for each in self._active if each() is not None}
                self._crowded = 2 * len(self._active) + _CROWD
            self._active.add(ref(active))
        return active

    @contextmanager
    def entered(self, active: CancellableRequest) -> Iterator[None]:
        """Hang up on *active* at the end of the block, unless it has ended before."""
        try:
            yield
        finally:
            active.hang_up()
            with self._lock:
                self._active.discard(ref(active))

    def cancel(self, request: HttpRequest) -> None:
        """Cancel *request*: this very object, not one that is equal to it."""
        with self._lock:
            active = [each() for each in self._active]
        for each in active:
            if each is not None and each.request is request:
                each.cancel()
