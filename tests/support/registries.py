"""Real registries and what stands before and beside them, as processes of their own, on a free port of this machine.

Debian has distribution 2.8.2 (``docker-registry``), nginx and skopeo. The programs in Go are put into ``.venv/go/bin``
by ``make test-all`` where Go is installed; they are also looked for on the ``PATH``, but distribution 3, whose program
has too general a name.
"""

from __future__ import annotations

import abc
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import pytest

__all__ = [
    "CRANE",
    "DEBIAN_REGISTRY",
    "DISTRIBUTION_3",
    "NGINX",
    "OLAREG",
    "ORAS",
    "REGCTL",
    "SKOPEO",
    "ZOT",
    "RealRegistry",
    "ServerProcess",
    "needs_debian_registry",
    "needs_distribution_3",
]

_GO_PROGRAMS: Final = Path(__file__).parents[2] / ".venv" / "go" / "bin"
_PATIENCE_SECONDS: Final = 20.0
# Below the ports that connections are given: a registry that restarts finds its own one free.
_PORTS: Final = range(20_000, 32_000)


def _find(name: str, folder: str | Path = _GO_PROGRAMS) -> str | None:
    return shutil.which(name, path=os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)]))


DEBIAN_REGISTRY: Final = _find("docker-registry")
DISTRIBUTION_3: Final = shutil.which("registry", path=str(_GO_PROGRAMS))
CRANE: Final = _find("crane")
OLAREG: Final = _find("olareg")
ORAS: Final = _find("oras")
REGCTL: Final = _find("regctl")
SKOPEO: Final = _find("skopeo")
ZOT: Final = _find("zot")
# Debian's programs for administrators are not on everybody's PATH.
NGINX: Final = _find("nginx", "/usr/sbin")

needs_debian_registry: Final = pytest.mark.skipif(
    DEBIAN_REGISTRY is None, reason="distribution 2.8 is not installed: apt-get install docker-registry"
)
needs_distribution_3: Final = pytest.mark.skipif(
    DISTRIBUTION_3 is None, reason="distribution 3 is not installed: make test-all does it where Go is on the PATH"
)


class ServerProcess(abc.ABC):
    """A program that listens from the start of the block on, and ends with it.

    Args:
        folder: For its configuration, its log and what it holds.
    """

    LISTENS: ClassVar[bytes]
    """What its log says once it listens; empty where it says nothing: then a connection tells."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def folder(self) -> Path:
        """What it was given."""
        return self._folder

    @property
    def host(self) -> str:
        """``"127.0.0.1:PORT"``, as in the name of a model; the same one after a restart."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its process, which runs."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What it said so far."""
        return (self._folder / "log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Run it, on the port it had before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        ports = [self._port] if self._port else random.Random(os.urandom(8)).sample(_PORTS, 20)
        for port in ports:
            if _is_free(port) and self._listens(port):
                self._port = port
                return
        raise AssertionError(self.log())

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE_SECONDS)
            self._process = None

    def restart(self) -> None:
        """Kill it and run it again."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()

    @abc.abstractmethod
    def command(self, port: int) -> Sequence[str | Path]:
        """Write the configuration for *port* and return what runs the program in the foreground."""

    def environ(self, port: int) -> Mapping[str, str]:
        """Return its environment, without what Go programs read there: REGISTRY_… would change the configuration."""
        return {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}

    def _listens(self, port: int) -> bool:
        """Run it and wait until it says that it listens; ``False`` when it does not want this port."""
        log = self._folder / "log"
        with log.open("ab") as file:
            said_before = file.tell()
            self._process = subprocess.Popen(self.command(port), stdout=file, stderr=file, env=self.environ(port))
        deadline = time.monotonic() + _PATIENCE_SECONDS
        never = threading.Event()
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.LISTENS in log.read_bytes()[said_before:] if self.LISTENS else _connects(port):
                return True
            never.wait(0.01)
        self.kill()
        return False


class RealRegistry(ServerProcess):
    """Distribution.

    Args:
        program: What to run; ``DEBIAN_REGISTRY`` or ``DISTRIBUTION_3``.
        folder: As for any.
        auth: Section ``auth`` of its configuration.
        remembers_blobs: With ``blobdescriptor: inmemory``, as Debian and the images configure it: what it knows of a
            blob it does not look up again.
    """

    LISTENS = b"listening on"

    def __init__(
        self, program: str | None, folder: Path, auth: Mapping[str, Any] | None = None, *, remembers_blobs: bool = False
    ) -> None:
        assert program is not None, "mark the test with what it needs"
        super().__init__(folder)
        self._program = program
        self._auth = auth
        self._cache = {"cache": {"blobdescriptor": "inmemory"}} if remembers_blobs else {}

    def blob_path(self, digest: str) -> Path:
        """Where it keeps the content of *digest*."""
        algorithm, _, text = digest.partition(":")
        return self._root / "blobs" / algorithm / text[:2] / text / "data"

    def forget_uploads(self) -> None:
        """Drop all open upload sessions, as its janitor does with those that are too old."""
        for folder in self._root.glob("repositories/*/*/_uploads"):
            shutil.rmtree(folder)

    def collect_garbage(self, repository: str) -> None:
        """Take the manifests of *repository* away, and with its own collector all that only they used."""
        shutil.rmtree(self._root / "repositories" / repository / "_manifests")
        command: list[str | Path] = [self._program, "garbage-collect", self._folder / "config.yml"]
        subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE_SECONDS)

    def command(self, port: int) -> Sequence[str | Path]:
        config = self._folder / "config.yml"  # JSON is YAML
        config.write_text(json.dumps(self._configuration(port)), "utf-8")
        return self._program, "serve", config

    @property
    def _root(self) -> Path:
        return self._folder / "data" / "docker" / "registry" / "v2"

    def _configuration(self, port: int) -> dict[str, Any]:
        storage = {"filesystem": {"rootdirectory": str(self._folder / "data")}, "delete": {"enabled": True}}
        return {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {**storage, **self._cache},
            "http": {"addr": f"127.0.0.1:{port}"},
            **({"auth": self._auth} if self._auth else {}),
        }


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
