"""The address that a command listens on, and the system's message when it cannot."""

from __future__ import annotations

import os

from ollama_push.core.errors import InvalidSetting

__all__ = ["parse_address", "system_message"]


def parse_address(option: str, text: str) -> tuple[str, int]:
    """Return address and port of ``[ADDRESS:]PORT``; the default address is loopback.

    Raises:
        InvalidSetting: *text*, the value of *option*, has another form.
    """
    address, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP
        raise InvalidSetting(option, text, "expected [ADDRESS:]PORT, a port from 0 to 65535")
    return address.strip("[]") or "127.0.0.1", int(port)


def system_message(exc: OSError) -> str:
    """Return the system's message for *exc*, in lower case for the middle of a sentence."""
    # Not strerror of the exception: asyncio puts the address in front of it.
    return (os.strerror(exc.errno) if exc.errno else str(exc)).lower()
