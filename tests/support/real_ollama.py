"""A real Ollama as a process of its own, where the variable ``OLLAMA_BIN`` names its program."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.gateway import BufferedResponse, parse, request_of
from tests.support.registries import ServerProcess

__all__ = ["OLLAMA", "RealOllama", "needs_ollama"]

OLLAMA: Final = os.environ.get("OLLAMA_BIN", "")

_PATIENCE_SECONDS: Final = 120.0
"""It sends what fails six times, with waits of up to 32 s, and says nothing while its registry is silent."""

needs_ollama: Final = pytest.mark.skipif(not OLLAMA, reason="no real Ollama: OLLAMA_BIN does not name its program")


class RealOllama(ServerProcess):
    """Ollama's server, with a key, a configuration and models of its own.

    Args:
        folder: Its home, and its log.
        models: The model store.
    """

    LISTENS = b"Listening on"

    def __init__(self, folder: Path, models: Path) -> None:
        super().__init__(folder)
        self._models = models

    def command(self, port: int) -> Sequence[str | Path]:
        return OLLAMA, "serve"

    def environ(self, port: int) -> Mapping[str, str]:
        """Its own home, nothing of ours; and it is to ask nobody on the internet for anything."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_MODELS": str(self._models),
            "OLLAMA_NO_CLOUD": "1",
        }

    @property
    def public_key(self) -> str:
        """The middle field of its public key, which it makes when it starts."""
        return (self.folder / ".ollama" / "id_ed25519.pub").read_text("utf-8").split()[1]

    def push(self, order: Mapping[str, Any]) -> BufferedResponse:
        """Ask for a push and return the whole response."""
        return self.ask("/api/push", order)

    def ask(self, path: str, order: Mapping[str, Any]) -> BufferedResponse:
        """Send *order* to *path* and return the whole response."""
        host, _, port = self.host.partition(":")
        with socket.create_connection((host, int(port)), _PATIENCE_SECONDS) as peer:
            peer.sendall(request_of("POST", path, json.dumps(order).encode()))
            return parse(b"".join(iter(lambda: peer.recv(65536), b"")))
