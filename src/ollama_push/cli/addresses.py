"""Where a command listens, as it is written on the command line."""

from __future__ import annotations

import os

from ollama_push.core.errors import InvalidSetting

__all__ = ["parse_address", "system_message"]


def parse_address(option: str, text: str) -> tuple[str, int]:
    """Return address and port of ``[ADDRESS:]PORT``; without an address it is loopback.

    Raises:
        InvalidSetting: *text*, the value of *option*, is something else.
    """
    address, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP
        raise InvalidSetting(option, text, "expected [ADDRESS:]PORT, a port from 0 to 65535")
    return address.strip("[]") or "127.0.0.1", int(port)


def system_message(exc: OSError) -> str:
    """Return what the system says about *exc*, to stand in a sentence."""
    # asyncio puts the address in front of the words it got.
    return (os.strerror(exc.errno) if exc.errno else str(exc)).lower()
