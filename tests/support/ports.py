"""Ports for programs that must be told theirs before they start."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import SystemRandom
from typing import Final

__all__ = ["free_port"]

_BELOW_THOSE_OF_CLIENTS: Final = range(10_000, 30_000)
"""What the system gives to connections, and to listeners without a port, begins higher: between here and the start of
the program it could go to somebody else (ip(7), ``ip_local_port_range``)."""


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    while True:
        # The seed of the tests is the same in all their processes.
        port = SystemRandom().choice(_BELOW_THOSE_OF_CLIENTS)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
