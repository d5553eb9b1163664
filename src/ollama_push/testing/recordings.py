"""Recordings of a real server: the bytes it sent, and when."""

from __future__ import annotations

import io
import json
from itertools import chain, repeat, takewhile
from os import PathLike
from pathlib import Path
from typing import Self

import attrs

from ollama_push.testing.server import Pause, Script, Step

__all__ = ["Recording"]


@attrs.frozen
class Recording:
    """One exchange with a real server.

    Attributes:
        server: Name and version of the server.
        scenario: What the registry behind the server did.
        request: The raw request.
        received: The response, as pairs of seconds since the request and raw bytes.
    """

    server: str
    scenario: str
    request: bytes
    received: tuple[tuple[float, bytes], ...]

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a recording from its JSON file: keys as the attributes.

        The file holds the response as UTF-8 text; in the request each character stands for one byte.
        """
        fields = json.loads(Path(path).read_text("utf-8"))
        received = tuple((float(seconds), text.encode("utf-8")) for seconds, text in fields["received"])
        return cls(fields["server"], fields["scenario"], fields["request"].encode("latin-1"), received)

    @property
    def raw(self) -> bytes:
        """All bytes of the response, head included."""
        return b"".join(data for _seconds, data in self.received)

    @property
    def streamed(self) -> bool:
        """Whether the request asked for a stream."""
        return b'"stream":false' not in self.request.replace(b" ", b"")

    def at_its_own_pace(self, speed: float = 1.0) -> Script:
        """Return a script with the recorded pauses, divided by *speed*."""
        steps: list[Step] = []
        before = 0.0
        for seconds, data in self.received:
            if seconds > before:
                steps.append(Pause((seconds - before) / speed))
                before = seconds
            steps.append(data)
        return tuple(steps)

    def cut(self, *sizes: int) -> Script:
        """Return a script that sends the bytes in pieces of *sizes*, the last size repeating."""
        stream = io.BytesIO(self.raw)
        pieces = (stream.read(size) for size in chain(sizes, repeat(sizes[-1])))
        return tuple(takewhile(bool, pieces))
