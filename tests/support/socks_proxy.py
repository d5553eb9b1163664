"""A SOCKS 5 proxy (RFC 1928) on loopback that leads every host to one place, and notes what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final, Self

import attrs

__all__ = ["Asked", "SocksProxy"]

_READ_BYTES: Final = 65536
_PATIENCE_SECONDS: Final = 20.0
_DOMAIN: Final = 3
_FAMILIES: Final = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}


@attrs.frozen
class Asked:
    """What a client wanted to be connected to.

    Attributes:
        host: A name, or an address as text.
        port: The TCP port.
        is_name: Whether the proxy was to find its address.
    """

    host: str
    port: int
    is_name: bool


class SocksProxy:
    """Listens from construction on.

    Args:
        target: Port on loopback that it connects to, whatever it is asked for; ``None`` for the port that is asked for.
        login: User and password that it wants (RFC 1929).
        reply: Its reply to requests (RFC 1928, 6); with another than 0 it connects to nothing.

    Attributes:
        port: Where it listens.
        asked: What clients wanted.
        logins: What they logged in with.
        accepted: How many connections were made to it.
    """

    def __init__(self, target: int | None = None, *, login: tuple[str, str] | None = None, reply: int = 0) -> None:
        self._target = target
        self._login = login
        self._reply = reply
        self._changed = threading.Condition()  # guards what follows
        self._open: set[socket.socket] = set()
        self.asked: list[Asked] = []
        self.logins: list[tuple[str, str]] = []
        self.accepted: int = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="socks-proxy", daemon=True)
        self._thread.start()

    def url(self, scheme: str = "socks5h", userinfo: str = "") -> str:
        """Return what a variable names it by."""
        return f"{scheme}://{userinfo}{'@' if userinfo else ''}127.0.0.1:{self.port}"

    def close(self) -> None:
        """Close all connections and stop."""
        # Closing alone does not wake up accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_PATIENCE_SECONDS)
        with self._changed:
            for peer in self._open:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
            assert self._changed.wait_for(lambda: not self._open, _PATIENCE_SECONDS), "a connection stays open"

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
            with self._changed:
                self._open.add(client)
                self.accepted += 1
            threading.Thread(target=self._serve, args=(client,), name="socks-link", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            client.settimeout(_PATIENCE_SECONDS)
            if self._greet(client) and (there := self._connect(client)) is not None:
                with self._changed:
                    self._open.add(there)
                for peer in (client, there):
                    peer.settimeout(None)
                back = threading.Thread(target=_copy, args=(there, client), name="socks-back", daemon=True)
                back.start()
                _copy(client, there)
                back.join()
                self._end(there)
        self._end(client)

    def _end(self, peer: socket.socket) -> None:
        peer.close()
        with self._changed:
            self._open.discard(peer)
            self._changed.notify_all()

    def _greet(self, client: socket.socket) -> bool:
        _version, count = _read(client, 2)
        methods = _read(client, count)
        wanted = 0 if self._login is None else 2
        if wanted not in methods:
            client.sendall(b"\x05\xff")
            return False
        client.sendall(bytes([5, wanted]))
        if self._login is None:
            return True
        _version, length = _read(client, 2)
        username = _read(client, length).decode()
        password = _read(client, _read(client, 1)[0]).decode()
        with self._changed:
            self.logins.append((username, password))
        right = (username, password) == self._login
        client.sendall(b"\x01\x00" if right else b"\x01\x01")
        return right

    def _connect(self, client: socket.socket) -> socket.socket | None:
        _version, _command, _reserved, kind = _read(client, 4)
        if kind == _DOMAIN:
            host = _read(client, _read(client, 1)[0]).decode()
        else:
            family, length = _FAMILIES[kind]
            host = socket.inet_ntop(family, _read(client, length))
        port = int.from_bytes(_read(client, 2), "big")
        with self._changed:
            self.asked.append(Asked(host, port, kind == _DOMAIN))
        there = None
        if not self._reply:
            there = socket.create_connection(("127.0.0.1", port if self._target is None else self._target))
        client.sendall(bytes([5, self._reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        return there


def _read(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_READ_BYTES):
            target.sendall(data)
    for peer, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
        with contextlib.suppress(OSError):
            peer.shutdown(how)
