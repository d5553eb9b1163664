"""Many clients in one process that want nothing but room: ``python hostile_clients.py PORT COUNT KIND``.

``heads`` and ``bodies`` send nearly as much as is taken, from two addresses, and stop. Of ``mixed``, from one address,
a quarter each says nothing, sends a head byte by byte, sends most of a large head and stops, or asks again and again
and reads nothing. Says ``ready`` when all have connected, and ends when its standard input does.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
from contextlib import suppress

_DRIP_SECONDS = 0.5
_POST = b"POST /api/push HTTP/1.1\r\nHost: localhost\r\n"
_SENT = {
    "heads": [_POST + b"".join(b"X%d: %s\r\n" % (number, b"a" * 240) for number in range(120))],
    "bodies": [_POST + b"X: " + b"a" * 8000 + b"\r\nContent-Length: 65536\r\n\r\n" + b" " * 65_000],
    "mixed": [
        b"",
        _POST + b"".join(b"X%d: %s\r\n" % (number, b"a" * 8000) for number in range(124)),
        b"GET /ui HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
        b"",
    ],
}
_DRIPS = _POST + b"X: " + b"a" * 10_000


def connect(port: int, number: int, kind: str) -> socket.socket:
    peer = socket.socket()
    with suppress(OSError):  # refused, or closed to make room for another one
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.bind((f"127.0.0.{1 if kind == 'mixed' else 1 + number % 2}", 0))
        peer.connect(("127.0.0.1", port))
        peer.settimeout(0)
        sent = _SENT[kind]
        peer.send(sent[number % len(sent)])
    return peer


def main(port: int, count: int, kind: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    peers = [connect(port, number, kind) for number in range(count)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    dripping = peers[3::4] if kind == "mixed" else []
    sent = 0
    while not select.select([sys.stdin], [], [], _DRIP_SECONDS)[0]:
        for peer in dripping:
            with suppress(OSError):
                peer.send(_DRIPS[sent : sent + 1])
        sent += 1


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
