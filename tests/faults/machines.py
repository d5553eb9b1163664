"""The machines that things happen to: disks that are full, processes that are killed or paused, clocks that jump."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from tests.support.redis_server import RedisServer

from ollama_push.gateway import GatewaySettings, serve
from ollama_push.testing.registry import EmbeddedRegistry

__all__ = [
    "FAKE_CLOCK",
    "HAS_REDIS",
    "ChildProcess",
    "SmallDisk",
    "fake_clock",
    "may_mount",
    "own_mounts",
    "redis_on_socket",
    "run_gateway",
    "run_registry",
    "send_signal",
]

HAS_REDIS: Final = shutil.which("redis-server") is not None
FAKE_CLOCK: Final = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
"""Lets the wall clock of a process jump; the monotonic one goes on, as both do when people set the time."""

_PATIENCE_SECONDS: Final = 60.0
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_MS_REMOUNT: Final = 0x20
_MNT_DETACH: Final = 0x2
_CLONE_NEWNS: Final = 0x20000
_PAGE_BYTES: Final = 4096

_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: bytes, folder: bytes, kind: bytes | None, flags: int, options: bytes | None) -> None:
    if _libc.mount(source, folder, kind, flags, options):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder.decode())


def own_mounts() -> None:
    """Let what this process mounts end with it, where that is permitted. It has one thread yet."""
    if sys.platform == "linux" and not _libc.unshare(_CLONE_NEWNS):
        with suppress(OSError):
            _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


class SmallDisk:
    """A disk of so many bytes, mounted on *folder*; what is in the folder is hidden while it is there."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder = os.fsencode(folder)
        # A page for the root; 0 would mean as much as there is.
        _mount(b"tmpfs", self._folder, b"tmpfs", 0, b"size=%d,mode=0700" % max(size, _PAGE_BYTES))

    def grow(self) -> None:
        """Give it room for everything; what is on it stays."""
        _mount(b"tmpfs", self._folder, b"tmpfs", _MS_REMOUNT, b"size=256m")

    def close(self) -> None:
        """Take it away."""
        _libc.umount2(self._folder, _MNT_DETACH)


@functools.cache
def may_mount() -> bool:
    """Say whether this process may mount disks."""
    if sys.platform != "linux":
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            SmallDisk(Path(folder), _PAGE_BYTES).close()
        except OSError:
            return False
    return True


def fake_clock(file: Path, offset: float) -> None:
    """Set the clock of processes with :data:`FAKE_CLOCK` that read *file*, *offset* seconds from the real one."""
    new = file.with_suffix(".new")
    new.write_text(f"{offset:+.0f}")
    new.replace(file)


def redis_on_socket(folder: Path, password: str) -> RedisServer:
    """Return a Redis that keeps everything and listens on the socket ``redis.sock`` in *folder*, which is short."""
    settings = {"port": "0", "unixsocket": str(folder / "redis.sock"), "requirepass": password}
    return RedisServer(folder, settings, keeps=True)


class ChildProcess:
    """A server in a process of its own, which was forked from one that had imported all that it needs.

    Args:
        run: Runs it; is given the connection for its port, and *arguments*.
    """

    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload([__name__])

    def __init__(self, run: Callable[..., None], *arguments: Any) -> None:
        ours, its = self._context.Pipe()
        self._connection = ours
        self._process = self._context.Process(target=run, args=(its, *arguments), daemon=True)
        self._process.start()
        its.close()
        self.host = f"127.0.0.1:{ours.recv()}" if ours.poll(_PATIENCE_SECONDS) else ""
        assert self.host, "it does not listen"
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @classmethod
    def prepare(cls) -> None:
        """Start the process that others are forked from, so that its descriptors are there."""
        process = cls._context.Process(target=int)
        process.start()
        process.join()
        process.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._close()

    def terminate(self) -> int | None:
        """Ask it to end; return its exit code, or ``None`` when it does not end."""
        self._process.terminate()
        self._process.join(_PATIENCE_SECONDS)
        code = self._process.exitcode
        self._process.kill()
        self._close()
        return code

    def _close(self) -> None:
        self._process.join(_PATIENCE_SECONDS)
        self._process.close()
        self._connection.close()


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, which may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def run_registry(connection: Connection, make: Callable[..., EmbeddedRegistry], *given: Any) -> None:
    """Serve a registry until the other end of *connection* is gone."""
    logging.disable(logging.CRITICAL)
    with make(*given) as registry:
        connection.send(int(registry.host.rpartition(":")[2]))
        with suppress(EOFError):
            connection.recv()


def run_gateway(connection: Connection, make_settings: Callable[..., GatewaySettings], log: Path, *given: Any) -> None:
    """Serve a gateway until SIGTERM; what it logs at any level goes to the file *log*."""
    logging.basicConfig(filename=log, level=logging.DEBUG)
    asyncio.run(serve(make_settings(*given), "127.0.0.1", 0, started=lambda _host, port: connection.send(port)))
