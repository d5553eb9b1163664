"""A gateway in a process of its own: what it holds can be counted from outside, and it can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["GatewayProcess", "hanging_clients", "hostile_clients", "wait_until"]

_CLIENTS: Final = Path(__file__).parents[1] / "gateway" / "clients"
_PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02


def wait_until(holds: Callable[[], bool]) -> bool:
    """Ask until *holds*; ``False`` when it took too long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


class GatewayProcess:
    """A gateway that serves while its block is open, or until it is killed.

    Args:
        store: Root of the models.
        uploads: Folder for unfinished uploads; survives the process.
        default_registry: Where names without a host go.
        max_pushes: As in the settings.
        concurrency: As in the settings.
        redis: URL of the Redis that it shares with its replicas.
        port: To listen on; 0 for a free one.
    """

    def __init__(
        self,
        store: Path,
        uploads: Path,
        default_registry: str,
        *,
        max_pushes: int = 64,
        concurrency: int = 4,
        redis: str | None = None,
        port: int = 0,
    ) -> None:
        asked = {
            "store": str(store),
            "uploads": str(uploads),
            "default_registry": default_registry,
            "max_pushes": max_pushes,
            "concurrency": concurrency,
            "redis": redis,
            "port": port,
        }
        self._process = _start("run_gateway.py", json.dumps(asked), stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._process.communicate(timeout=_PATIENCE_SECONDS)
        if exc is None:
            assert self._process.returncode in (0, -signal.SIGKILL)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self._process.kill()
        self._process.wait(_PATIENCE_SECONDS)

    def close(self) -> None:
        """Kill it, and close the pipes to it."""
        self._process.kill()
        self._process.communicate(timeout=_PATIENCE_SECONDS)

    def get(self, path: str) -> bytes:
        """Return the body of an answer."""
        return self._ask("GET", path)

    def push(self, name: str) -> list[dict[str, Any]]:
        """Push *name*; return the lines of the answer."""
        return [json.loads(line) for line in self._ask("POST", "/api/push", json.dumps({"model": name})).splitlines()]

    def start_push(self, name: str) -> HTTPConnection:
        """Ask for a push and do not wait for the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_SECONDS)
        connection.request("POST", "/api/push", json.dumps({"model": name}))
        return connection

    @property
    def pushes(self) -> int:
        """How many pushes run."""
        return int(json.loads(self.get("/healthz"))["pushes"])

    def left(self) -> dict[str, Any]:
        """Return what is in the process: ``tasks``, ``threads``, allocated ``blocks`` and resident ``bytes``."""
        return dict(json.loads(self.get("/left")))

    def metric(self, name: str, **labels: str) -> float:
        """Return a measurement; 0 while there is none."""
        families = text_string_to_metric_families(self.get("/metrics").decode())
        samples = (sample for family in families for sample in family.samples)
        return sum(
            sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def memory(self) -> int:
        """Bytes of memory that the process takes."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def files(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))  # noqa: PTH208 - they vanish while one looks

    def is_idle(self) -> bool:
        """Say whether the only TCP socket is the one that listens."""
        return not self._connections()

    def _connections(self) -> list[str]:
        """Return the TCP sockets that do not listen, as ``local -> remote``."""
        return list(_connections_of(self._process.pid))

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, {"Connection": "close"})
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def hanging_clients(port: int, orders: list[dict[str, Any]]) -> Iterator[Callable[[], None]]:
    """Ask for a push for each of *orders* at once, and yield what kills all these clients."""
    process = _start("hanging_clients.py", str(port), json.dumps(orders))

    def kill() -> None:
        process.kill()
        process.wait(_PATIENCE_SECONDS)

    try:
        yield kill
    finally:
        process.communicate(timeout=_PATIENCE_SECONDS)


@contextmanager
def hostile_clients(port: int, count: int, kind: str = "mixed") -> Iterator[None]:
    """Let so many clients take what room they can get; inside the block all of them have connected."""
    process = _start("hostile_clients.py", str(port), str(count), kind, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.communicate(timeout=_PATIENCE_SECONDS)


def _start(script: str, *arguments: str, stdout: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, str(_CLIENTS / script), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, text=True)


def _connections_of(pid: int) -> Iterator[str]:
    own = set()
    for number in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(str(number.readlink()))
        except FileNotFoundError:  # closed while we look
            continue
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        (
            _,
            local,
            remote,
            state,
            *_,
        ) = line.split()[:4]
        inode = line.split()[9]
        if f"socket:[{inode}]" in own and state != "0A":  # LISTEN
            yield f"{local} -> {remote}"
