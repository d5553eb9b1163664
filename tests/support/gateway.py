"""A gateway on a loop in a thread of its own, and a client that shows every byte."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs
from aiohttp import web
from tests.support.server_recordings import unchunked
from tests.support.stores import put_model

from ollama_push.core.registry.credentials import CredentialSource
from ollama_push.core.retry import RetryPolicy
from ollama_push.gateway import PUSH_HISTORY, GatewaySettings, PushRecord, create_app
from ollama_push.gateway.server import new_runner, new_site
from ollama_push.local import Credentials, ModelStore, NoResume

PATIENCE = 20.0
QUICK = RetryPolicy(attempts=3, base=0.0)


def nobody() -> CredentialSource:
    """Credentials that neither the environment nor a file of this machine can change."""
    return Credentials(environ={})


def store_of(tmp_path: Path, *names: str, layers: tuple[bytes, ...] | None = None) -> ModelStore:
    """A store that holds a small model under each of *names* (``host/namespace/model/tag``)."""
    root = tmp_path / "models"
    (root / "manifests").mkdir(parents=True, exist_ok=True)
    for name in names:
        if layers is None:
            put_model(root, name)
        else:
            put_model(root, name, layers)
    return ModelStore(root)


@attrs.frozen
class BufferedResponse:
    """What came back, taken apart."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    framing: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.split(b"\n") if line]

    @property
    def error(self) -> str:
        return str(self.lines[-1].get("error", ""))


def parse(raw: bytes) -> BufferedResponse:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    _, status, reason = first.split(" ", 2)
    framing = "chunked" if headers.get("transfer-encoding") == "chunked" else "length"
    return BufferedResponse(int(status), reason, headers, unchunked(body) if framing == "chunked" else body, framing)


class Gateway:
    """A gateway that listens while its block is open."""

    def __init__(
        self, settings: GatewaySettings, make: Callable[[GatewaySettings], web.Application] = create_app
    ) -> None:
        self.app = make(settings)
        self._settings = settings
        self._started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="gateway")

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._started.result(PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        self.tell_to_stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def tell_to_stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.ended.set)

    def records(self) -> tuple[PushRecord, ...]:
        async def look() -> tuple[PushRecord, ...]:
            return self.app[PUSH_HISTORY].records()

        return asyncio.run_coroutine_threadsafe(look(), self.loop).result(PATIENCE)

    def wait_for(self, count: int) -> tuple[PushRecord, ...]:
        """Wait until *count* pushes are over; return all there are."""

        async def wait() -> tuple[PushRecord, ...]:
            async with asyncio.timeout(PATIENCE):
                history = self.app[PUSH_HISTORY]
                async for _ in history.subscribe(interval=0.0):
                    if sum(history.counts.values()) >= count:
                        return history.records()
            raise AssertionError

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(PATIENCE)

    def tasks(self) -> list[str]:
        """Names of the tasks that pushes have left or are made of."""

        async def look() -> list[str]:
            return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ollama-push")]

        return asyncio.run_coroutine_threadsafe(look(), self.loop).result(PATIENCE)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def raw(self, request: bytes) -> bytes:
        """Send *request* as it is and return every byte until the connection ends."""
        with self.connect() as peer:
            peer.sendall(request)
            return b"".join(iter(lambda: peer.recv(65536), b""))

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> BufferedResponse:
        return parse(self.raw(request_of(method, path, body, headers)))

    def push(self, order: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> BufferedResponse:
        return self.send("POST", "/api/push", json.dumps(order).encode(), headers)

    async def _serve(self) -> None:
        self.loop, self.ended = asyncio.get_running_loop(), asyncio.Event()
        runner = new_runner(self.app, self._settings)
        try:
            await runner.setup()
            await new_site(runner, self._settings, "127.0.0.1", 0).start()
            self._started.set_result(runner.addresses[0][1])
            await self.ended.wait()
        except BaseException as exc:
            if not self._started.done():
                self._started.set_exception(exc)
            raise
        finally:
            await runner.cleanup()


def request_of(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    given = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def settings_for(store: ModelStore, **more: Any) -> GatewaySettings:
    """Settings that touch nothing of this machine."""
    given: dict[str, Any] = {"store": store, "credentials": nobody(), "resume": NoResume(), "retry": QUICK, **more}
    return GatewaySettings(**given)


def lines_of(peer: socket.socket) -> Iterator[dict[str, Any]]:
    """Yield the lines of a chunked answer as they come, until it ends."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += peer.recv(4096)
    rest = raw.partition(b"\r\n\r\n")[2]
    while True:
        while b"\r\n" not in rest:
            rest += peer.recv(65536)
        size, _, rest = rest.partition(b"\r\n")
        if not (count := int(size, 16)):
            return
        while len(rest) < count + 2:
            rest += peer.recv(65536)
        for line in rest[:count].split(b"\n"):
            if line:
                yield json.loads(line)
        rest = rest[count + 2 :]
