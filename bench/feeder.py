"""The server, in a process of its own: sends one prebuilt byte string for each request.

Run as ``python -m bench.feeder``; it prints its port and ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.streams import Stream, wire

__all__ = ["running_feeder"]


@contextmanager
def running_feeder() -> Iterator[str]:
    """Run a feeder for the block; gives its URL without a path."""
    command = [sys.executable, "-m", "bench.feeder"]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def _serve(connection: socket.socket) -> None:
    # A peer that leaves early is its own business.
    with connection, contextlib.suppress(OSError), connection.makefile("rb") as stream:
        while first := stream.readline().split():
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            stream.read(length)
            connection.sendall(wire(Stream.from_target(first[1].decode())))


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _address = listener.accept()
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
