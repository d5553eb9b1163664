"""Writes to a reader who may leave: a push is worth more than the words about it."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TextIO

__all__ = ["write_whole"]


def write_whole(stream: TextIO, text: str) -> OSError | None:
    """Write *text* in one piece; when that fails, lead *stream* to nowhere from then on.

    Returns:
        Why it failed, or ``None``.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as exc:
        with suppress(io.UnsupportedOperation):
            # What is still buffered would fail again when the interpreter ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return exc
    return None
