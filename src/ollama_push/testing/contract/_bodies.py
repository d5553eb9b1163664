"""T10, T11: what becomes of a request whose body is not taken, or breaks off."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from ollama_push.core.errors import MachineMisuse, TransportTimeout, shorten
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.contract._clauses import Clause, Rig, clause_into, expect, fetch, plain, raised_by

__all__ = ["CLAUSES"]

CLAUSES: Final[list[Clause]] = []
_clause = partial(clause_into, CLAUSES)

_SHORT: Final = 0.15
_PIECE: Final = 65_536
# More than both kernels' buffers on loopback hold.
_PIECES: Final = 512


class _Body:
    """Gives pieces and then, before the last one, raises; or gives them all."""

    def __init__(self, pieces: int, error: Exception | None = None) -> None:
        self._pieces, self._error = pieces, error

    def __len__(self) -> int:
        return self._pieces * _PIECE

    def __iter__(self) -> Iterator[bytes]:
        yield from [bytes(_PIECE)] * (self._pieces - 1)
        if self._error is not None:
            raise self._error
        yield bytes(_PIECE)


class _Taker:
    """A peer that counts what it takes of one request's body, beginning when told to."""

    def __init__(self, listener: socket.socket, length: int, patience: float) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        self.taken = 0
        self.begin = threading.Event()
        self.gone = threading.Event()
        self._listener, self._length, self._patience = listener, length, patience

    def run(self) -> None:
        with contextlib.suppress(TimeoutError):  # nobody came, or nobody went
            connection, _address = self._listener.accept()
            with connection:
                connection.settimeout(self._patience)
                self._take(connection)
            self.gone.set()

    def _take(self, connection: socket.socket) -> None:
        held = connection.recv(1)
        while b"\r\n\r\n" not in held and (data := connection.recv(1)):
            held += data
        self.begin.wait(self._patience)
        with contextlib.suppress(ConnectionError):  # who hangs up with a reset has hung up, too
            while self.taken < self._length and (data := connection.recv(_PIECE)):
                self.taken += len(data)
        if self.taken == self._length:
            connection.sendall(plain(b""))


@contextmanager
def _taker(rig: Rig, body: _Body) -> Iterator[_Taker]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(rig.patience)
        taker = _Taker(listener, len(body), rig.patience)
        thread = threading.Thread(target=taker.run, daemon=True)
        thread.start()
        try:
            yield taker
        finally:
            taker.begin.set()
            thread.join()


def _expect_hangup(taker: _Taker, body: _Body, rig: Rig) -> None:
    taker.begin.set()
    expect(taker.gone.wait(rig.patience), "the peer never saw the connection close")
    expect(taker.taken < len(body), "the request arrived whole")


@_clause("T10", "while sending", "A peer that takes nothing of the body is TransportTimeout.")
def _(rig: Rig) -> None:
    body = _Body(_PIECES)
    with _taker(rig, body) as taker, rig.transport() as transport:
        request = HttpRequest("PUT", taker.url, body=body, read_timeout=_SHORT)
        error = raised_by(TransportTimeout, lambda: fetch(transport, request))
        expect(error.__cause__ is not None, "TransportTimeout has no cause")
        _expect_hangup(taker, body, rig)


class _Mine(Exception):
    """An error of the body's own."""


def _expect_passage(rig: Rig, error: Exception) -> None:
    body = _Body(3, error)
    with _taker(rig, body) as taker, rig.transport() as transport:
        caught = raised_by(BaseException, lambda: fetch(transport, HttpRequest("PUT", taker.url, body=body)))
        expect(caught is error, f"{shorten(error)} came out as {shorten(caught)}")
        expect(caught.__cause__ is None, f"{shorten(error)} came out with a cause")
        _expect_hangup(taker, body, rig)


@_clause(
    "T11", "the body's errors", "An error raised by the body passes through untouched, and the connection is gone."
)
def _(rig: Rig) -> None:
    for error in (_Mine("mine"), MachineMisuse("mine")):
        _expect_passage(rig, error)


@_clause("T11", "the body's look-alikes", "An error raised by the body is not taken for the network's.")
def _(rig: Rig) -> None:
    for kind in (OSError, BrokenPipeError, ConnectionResetError, TimeoutError, ValueError, RuntimeError, EOFError):
        _expect_passage(rig, kind("mine"))
