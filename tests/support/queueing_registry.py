"""A registry that works at a few requests at a time, each for the same time; the others wait in a line.

It keeps nothing: what is asked for is missing, and what is sent is taken.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

__all__ = ["QueueingRegistry"]

_STATUSES: Final = {"HEAD": 404, "GET": 404, "POST": 202, "PATCH": 202, "PUT": 201}


class QueueingRegistry:
    """The registry, on real sockets; a context manager.

    Args:
        places: Requests that it works at.
        seconds: For so long each.

    Attributes:
        beside: For each request, how many were there when it came, itself included.
    """

    def __init__(self, places: int, seconds: float) -> None:
        self.beside: list[int] = []
        self._seconds = seconds
        self._free = places
        self._line: deque[threading.Event] = deque()
        self._changed = threading.Lock()
        self._there = 0
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                self.rfile.read(length)
                registry.work()
                self.send_response(_STATUSES[self.command])
                self.send_header("Content-Length", "0")
                self.send_header("Location", f"/v2/team/a/blobs/uploads/{len(registry.beside)}")
                self.end_headers()

            do_HEAD = do_GET = do_POST = do_PATCH = do_PUT = handle_any  # noqa: N815 - names of http.server

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def work(self) -> None:
        """Work at one request, when it has a place."""
        turn = threading.Event()
        with self._changed:
            self._there += 1
            self.beside.append(self._there)
            self._line.append(turn)
            self._call()
        turn.wait()
        time.sleep(self._seconds)
        with self._changed:
            self._there -= 1
            self._free += 1
            self._call()

    def _call(self) -> None:
        while self._line and self._free:
            self._free -= 1
            self._line.popleft().set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
