"""A real Redis server as a process: killed, stopped, restarted, full, or with a password."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import pytest
import redis
from tests.support.ports import free_port

__all__ = ["UNUSABLE", "RedisServer", "needs_redis"]

_PROGRAM: Final = shutil.which("redis-server") or shutil.which("valkey-server")
_PATIENCE_SECONDS: Final = 30.0

needs_redis = pytest.mark.skipif(_PROGRAM is None, reason="Redis is not installed: apt-get install redis-server")


UNUSABLE: Final = [
    pytest.param({"requirepass": "correct-horse"}, "it does not accept the user name or password", id="password"),
    pytest.param({"maxmemory": "1"}, "it has no room left (maxmemory)", id="full"),
    pytest.param({"replicaof": "127.0.0.1 1"}, "it is a read-only replica", id="replica"),
    pytest.param(None, "it does not respond in time", id="slow"),
]
"""Settings of servers that cannot be used, ``None`` for one that is stopped, and what is said of them."""


class RedisServer:
    """A server on a free port of this machine; a context manager.

    Args:
        folder: For its files.
        settings: Of its configuration, such as ``{"maxmemory": "2mb"}``.
        keeps: Whether it writes everything to disk at once, and finds it there after a restart.
        scheme: ``rediss`` where the settings turn TLS on; then it has no other port.
        login: Of the URL, with a final ``@``.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        keeps: bool = False,
        scheme: str = "redis",
        login: str = "",
    ) -> None:
        self._folder = folder
        self._scheme = scheme
        self._login = login
        self._settings = {
            "bind": "127.0.0.1",
            "save": "",
            "dir": str(folder),
            "appendonly": "yes" if keeps else "no",
            "appendfsync": "always",
            **(settings or {}),
        }
        self.port: int = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._clients = ExitStack()

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self._login}127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """Return a client of the library, which decodes texts; it is closed with the server."""
        client = redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, **options)
        self._clients.callback(client.close)
        return client

    def run(self, *words: str | int) -> Any:
        """Send a command that the library has no typed method for, and return the response."""
        client: Any = self.client()
        return client.execute_command(*words)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert _PROGRAM is not None, "mark the test with what it needs"
        self._folder.mkdir(parents=True, exist_ok=True)
        port = {"port": "0", "tls-port": str(self.port)} if self._scheme == "rediss" else {"port": str(self.port)}
        options = [text for name, value in {**port, **self._settings}.items() for text in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [_PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if b"ready to accept connections" in line.lower():
                break
        else:
            self.kill()
            pytest.fail(f"redis-server ended: {b''.join(said).decode()}")

    def kill(self) -> None:
        """Kill it as a loss of power does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_PATIENCE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Stop its process: it takes connections, and responds to nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._clients.close()
        if self._process is not None:
            self.kill()
