"""Many clients in one process, to be killed in the middle: ``python hanging_clients.py PORT ORDERS-AS-JSON``."""

from __future__ import annotations

import json
import socket
import sys


def ask(port: int, order: dict[str, object]) -> socket.socket:
    body = json.dumps(order)
    peer = socket.create_connection(("127.0.0.1", port))
    peer.sendall(f"POST /api/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    return peer


if __name__ == "__main__":
    peers = [ask(int(sys.argv[1]), order) for order in json.loads(sys.argv[2])]
    # Nobody reads: these clients live until they are killed, or their parent process is gone.
    sys.stdin.read()
