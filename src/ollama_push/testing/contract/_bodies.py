"""T10, T11: how a request ends whose body the peer does not read, or whose body raises."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ollama_push.core.errors import MachineMisuse, TransportTimeout
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.contract._clauses import (
    ClauseList,
    Rig,
    expect,
    expect_cause,
    expect_passage,
    fetch,
    plain,
    raised_by,
)

__all__ = ["BODY_CLAUSES"]

BODY_CLAUSES: Final = ClauseList()
_clause = BODY_CLAUSES.add

_SHORT: Final = 0.15
_PIECE: Final = 65_536
# More than the send and receive buffers of the kernel hold on loopback.
_PIECES: Final = 512


class _Body:
    """Yields pieces; raises *error* before the last one."""

    def __init__(self, pieces: int, error: Exception | None = None) -> None:
        self._pieces, self._error = pieces, error

    def __len__(self) -> int:
        return self._pieces * _PIECE

    def __iter__(self) -> Iterator[bytes]:
        yield from [bytes(_PIECE)] * (self._pieces - 1)
        if self._error is not None:
            raise self._error
        yield bytes(_PIECE)


class _Reader:
    """A peer that reads one request's body once ``begin`` is set, and counts the bytes."""

    def __init__(self, listener: socket.socket, length: int, patience: float) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        self.read_bytes = 0
        self.begin = threading.Event()
        self.gone = threading.Event()
        self._listener, self._length, self._patience = listener, length, patience

    def run(self) -> None:
        with contextlib.suppress(TimeoutError):  # no connection came, or it was not closed
            connection, _address = self._listener.accept()
            with connection:
                connection.settimeout(self._patience)
                self._read(connection)
            self.gone.set()

    def _read(self, connection: socket.socket) -> None:
        held = connection.recv(1)
        while b"\r\n\r\n" not in held and (data := connection.recv(1)):
            held += data
        self.begin.wait(self._patience)
        with contextlib.suppress(ConnectionError):  # a reset is a disconnect too
            while self.read_bytes < self._length and (data := connection.recv(_PIECE)):
                self.read_bytes += len(data)
        if self.read_bytes == self._length:
            connection.sendall(plain(b""))


@contextmanager
def _reader(rig: Rig, body: _Body) -> Iterator[_Reader]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(rig.patience)
        reader = _Reader(listener, len(body), rig.patience)
        thread = threading.Thread(target=reader.run, daemon=True)
        thread.start()
        try:
            yield reader
        finally:
            reader.begin.set()
            thread.join()


def _expect_disconnect(reader: _Reader, body: _Body, rig: Rig) -> None:
    reader.begin.set()
    expect(reader.gone.wait(rig.patience), "the peer never saw the connection close")
    expect(reader.read_bytes < len(body), "the request arrived whole")


@_clause("T10", "while sending", "A peer that takes nothing of the body is TransportTimeout.")
def _times_out_while_sending(rig: Rig) -> None:
    body = _Body(_PIECES)
    with _reader(rig, body) as reader, rig.transport() as transport:
        request = HttpRequest("PUT", reader.url, body=body, read_timeout=_SHORT)
        error = raised_by(TransportTimeout, lambda: fetch(transport, request))
        expect_cause(error)
        _expect_disconnect(reader, body, rig)


class _BodysError(Exception):
    """An error that no transport knows."""


def _expect_body_to_pass(rig: Rig, error: Exception) -> None:
    body = _Body(3, error)
    with _reader(rig, body) as reader, rig.transport() as transport:
        expect_passage(error, lambda: fetch(transport, HttpRequest("PUT", reader.url, body=body)))
        _expect_disconnect(reader, body, rig)


@_clause(
    "T11", "the body's errors", "An error raised by the body passes through untouched, and the connection is gone."
)
def _passes_errors_of_the_body(rig: Rig) -> None:
    for error in (_BodysError("mine"), MachineMisuse("mine")):
        _expect_body_to_pass(rig, error)


@_clause("T11", "the body's look-alikes", "An error raised by the body is not taken for the network's.")
def _takes_no_error_of_the_body_for_the_networks(rig: Rig) -> None:
    for kind in (OSError, BrokenPipeError, ConnectionResetError, TimeoutError, ValueError, RuntimeError, EOFError):
        _expect_body_to_pass(rig, kind("mine"))
