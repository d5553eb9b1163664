"""What tests of resumed pushes share: registries with each policy for broken parts, and processes that push."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from tests.support.counting_proxy import CountingProxy
from tests.support.large_models import LargeModel
from tests.support.registries import (
    DEBIAN_REGISTRY,
    DISTRIBUTION_3,
    RealRegistry,
    needs_debian_registry,
    needs_distribution_3,
)

from ollama_push.testing.registry import BrokenPartPolicy, EmbeddedRegistry

__all__ = ["EITHER", "KEEPING", "KILLING", "AnyRegistry", "MakeRegistry", "PushingProcess", "expire_sessions"]

_WORKER: Final = Path(__file__).with_name("push_worker.py")
_PATIENCE_SECONDS: Final = 60.0

AnyRegistry = RealRegistry | EmbeddedRegistry
MakeRegistry = Callable[[Path], AnyRegistry]


def _distribution_3(folder: Path) -> AnyRegistry:
    return RealRegistry(DISTRIBUTION_3, folder)


def _debian(folder: Path) -> AnyRegistry:
    return RealRegistry(DEBIAN_REGISTRY, folder)


def _embedded_keeping(folder: Path) -> AnyRegistry:
    return EmbeddedRegistry(folder)


def _embedded_killing(folder: Path) -> AnyRegistry:
    return EmbeddedRegistry(folder, broken_parts=BrokenPartPolicy.KILLS_SESSION)


KEEPING: Final = (
    pytest.param(_distribution_3, id="distribution-3", marks=needs_distribution_3),
    pytest.param(_embedded_keeping, id="embedded-keeping"),
)
"""Registries that keep a part that breaks off."""

KILLING: Final = (
    pytest.param(_debian, id="distribution-2.8", marks=needs_debian_registry),
    pytest.param(_embedded_killing, id="embedded-killing"),
)
"""Registries that forget a session when one of its parts breaks off."""

EITHER: Final = (*KEEPING, *KILLING)


def expire_sessions(registry: AnyRegistry) -> None:
    """Let all open uploads of *registry* be gone."""
    if isinstance(registry, RealRegistry):
        registry.forget_uploads()
    else:
        registry.expire_sessions()


@attrs.frozen
class PushingProcess:
    """Pushes a model through a proxy, in one process after the other.

    Attributes:
        model: What to push.
        proxy: In front of the registry.
        folder: For unfinished uploads.
        part_bytes: As the client's.
        asynchronous: Whether it uses the async client.
        redis: URL of the Redis that keeps unfinished uploads instead of *folder*; the folder is then its HOME alone.
        lease_seconds: Of the claims in Redis.
    """

    model: LargeModel
    proxy: CountingProxy
    folder: Path
    part_bytes: int | None = None
    asynchronous: bool = False
    redis: str | None = None
    lease_seconds: float = 15.0

    def run(self) -> dict[str, Any]:
        """Push; return what the process says."""
        process = self.start()
        said, complaints = process.communicate(timeout=_PATIENCE_SECONDS)
        assert process.returncode == 0, complaints
        self.proxy.wait_until_idle()
        return dict(json.loads(said))

    def stopped_by(self, number: signal.Signals, more_bytes: int) -> dict[str, Any] | None:
        """Push, and send the process a signal when the registry got *more_bytes* more bytes.

        Returns:
            What it says; ``None`` when the signal was its end.
        """
        started: Future[subprocess.Popen[str]] = Future()
        reader, writer = os.pipe()

        def stop() -> None:
            started.result(_PATIENCE_SECONDS).send_signal(number)
            # Nothing moves before the process has noticed it, or is dead, however busy the machine is.
            os.read(reader, 1)

        self.proxy.at(more_bytes, stop)
        try:
            process = self.start(writer)
            os.close(writer)
            started.set_result(process)
            said, complaints = process.communicate(timeout=_PATIENCE_SECONDS)
        finally:
            os.close(reader)
        # What is on its way when a process dies still arrives.
        self.proxy.wait_until_idle()
        if process.returncode == -number:
            return None
        assert process.returncode == 0, complaints
        return dict(json.loads(said))

    def start(self, noticed: int | None = None) -> subprocess.Popen[str]:
        """Start a push, which writes a byte to the descriptor *noticed* when it has noticed a signal."""
        asked = {
            "store": str(self.model.root),
            "uploads": str(self.folder),
            "part_bytes": self.part_bytes,
            "asynchronous": self.asynchronous,
            "noticed": noticed,
            "redis": self.redis,
            "lease_seconds": self.lease_seconds,
            "name": f"{self.proxy.host}/myuser/my-llama:v1",
        }
        command = [sys.executable, str(_WORKER), json.dumps(asked)]
        inherited = () if noticed is None else (noticed,)
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=inherited,
            env={**os.environ, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder)},
        )
