"""A real haproxy as a process: one address for several servers, of which it asks whether they are well."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import pytest
from tests.support.ports import free_port

__all__ = ["Haproxy", "needs_haproxy"]

_PROGRAM: Final = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
_PATIENCE_SECONDS: Final = 30.0

needs_haproxy = pytest.mark.skipif(_PROGRAM is None, reason="haproxy is not installed: apt-get install haproxy")

_CONFIGURATION: Final = """
global
  maxconn 256
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option redispatch
  retries 3
frontend pushes
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  balance leastconn
  option httpchk GET /healthz
{servers}
"""


class Haproxy:
    """Forwards to the servers that are well; a context manager.

    Args:
        folder: For its configuration.
        ports: Of the servers, on loopback.
    """

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.port: int = free_port()
        servers = "\n".join(f"  server r{port} 127.0.0.1:{port} check inter 100ms fall 1 rise 1" for port in ports)
        self._file = folder / "haproxy.cfg"
        self._file.write_text(_CONFIGURATION.format(port=self.port, servers=servers), "utf-8")

    def __enter__(self) -> Self:
        assert _PROGRAM is not None, "mark the test with what it needs"
        self._process = subprocess.Popen([_PROGRAM, "-db", "-f", str(self._file)], stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait(_PATIENCE_SECONDS)
