"""A server whose verdict is in the name of the model, on connections that are kept: a mix-up cannot go unnoticed."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, Self

import attrs

__all__ = ["ServedPush", "VerdictServer"]

_TICK_SECONDS: Final = 0.01
_LONGEST_SECONDS: Final = 120.0


@attrs.define(eq=False)
class ServedPush:
    """One push as it was served.

    Attributes:
        model: Its name, as it was asked for.
        ended_at: When its response was complete, or its client was gone, on the monotonic clock.
    """

    model: str
    ended_at: float | None = None


class VerdictServer:
    """Serves pushes: of ``good/N`` a success, of ``bad/N`` a refusal, and ``long/N`` goes on until its client is gone.

    Each line names its model.

    Attributes:
        url: Its base URL.
        pushes: All that were asked for.
    """

    def __init__(self) -> None:
        self.pushes: list[ServedPush] = []
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url: str = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.close()

    def wait_until_left(self, seconds: float) -> bool:
        """Wait until no connection is open any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as file:
                while (request := _next_request(file)) is not None:
                    self._answer(connection, request)
        except OSError:
            pass
        finally:
            with self._changed:
                self._open.discard(connection)
                self._changed.notify_all()

    def _answer(self, connection: socket.socket, body: bytes) -> None:
        push = ServedPush(json.loads(body)["model"].removesuffix(":latest"))
        self.pushes.append(push)
        try:
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for line in _lines(push.model):
                if select.select([connection], [], [], _TICK_SECONDS)[0]:
                    raise ConnectionError("the client has left, or has sent something else on this connection")
                data = json.dumps(line).encode() + b"\n"
                connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            connection.sendall(b"0\r\n\r\n")
        finally:
            push.ended_at = time.monotonic()


def _next_request(file: Any) -> bytes | None:
    """Return the body of the next request; ``None`` when there is none."""
    if not file.readline():
        return None
    length = 0
    while (line := file.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    body: bytes = file.read(length)
    return body if len(body) == length else None


def _lines(model: str) -> Iterator[dict[str, object]]:
    digest = f"sha256:{model}"
    kind = model.partition("/")[0]
    yield {"status": f"retrieving {model}"}
    began, step = time.monotonic(), 0
    while step < 5 or (kind == "long" and time.monotonic() - began < _LONGEST_SECONDS):
        step += 1
        yield {"status": f"pushing {model}", "digest": digest, "total": 1_000_000, "completed": step}
    yield {"error": f"unauthorized: {model}"} if kind == "bad" else {"status": "success"}
