"""The secret with which this user's gateways sign the addresses of blobs; it outlives them, so that pulls go on."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from ollama_push.local.files import make_own_directory, read_regular, write_private

__all__ = ["pull_key"]

_KEY_BYTES: Final = 32


def pull_key(directory: Path | None = None) -> bytes:
    """Return the secret, which is made when it is missing; where none can be kept, one that nobody else has.

    Args:
        directory: Made if missing, for its owner only; default: ``pulls`` in the user's state directory.
    """
    if directory is None:
        from platformdirs import user_state_path  # noqa: PLC0415 - only a gateway needs it

        directory = user_state_path("ollama-push", appauthor=False) / "pulls"
    path = directory / "key"
    try:
        # Other users who may write there could put a key of theirs in its place.
        make_own_directory(directory)
        try:
            key = read_regular(path, _KEY_BYTES)
        except FileNotFoundError:
            key = b""
        if len(key) != _KEY_BYTES:
            key = secrets.token_bytes(_KEY_BYTES)
            write_private(path, key, durable=False)
    except (OSError, ValueError):
        return secrets.token_bytes(_KEY_BYTES)
    return key
