"""Recordings of a real server: what it sent, byte for byte, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Self

import attrs

from ollama_push.testing.steps import Pause, Script, Step

__all__ = ["Recording"]


@attrs.frozen
class Recording:
    """One exchange with a real server.

    Attributes:
        server: Name and version of what was recorded.
        scenario: What the registry behind it was made to do.
        request: The raw request.
        received: What came back, as (seconds since the request, raw bytes).
    """

    server: str
    scenario: str
    request: bytes
    received: tuple[tuple[float, bytes], ...]

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a recording from its JSON file: keys as the attributes.

        What came back is UTF-8 text there; of the request each character stands for one byte.
        """
        fields = json.loads(Path(path).read_text("utf-8"))
        received = tuple((float(seconds), text.encode("utf-8")) for seconds, text in fields["received"])
        return cls(fields["server"], fields["scenario"], fields["request"].encode("latin-1"), received)

    @property
    def raw(self) -> bytes:
        """All bytes that came back, head included."""
        return b"".join(data for _seconds, data in self.received)

    @property
    def streamed(self) -> bool:
        """Whether the request asked for a stream."""
        return b'"stream":false' not in self.request.replace(b" ", b"")

    def at_its_own_pace(self, speed: float = 1.0) -> Script:
        """Return a script with the recorded pauses, divided by *speed*."""
        return tuple(self._paced(speed))

    def cut(self, *sizes: int) -> Script:
        """Return a script that sends the bytes in pieces of *sizes*, the last size repeating."""
        raw, steps, start = self.raw, list[Step](), 0
        turn = 0
        while start < len(raw):
            size = sizes[min(turn, len(sizes) - 1)]
            steps.append(raw[start : start + size])
            start, turn = start + size, turn + 1
        return tuple(steps)

    def _paced(self, speed: float) -> Iterator[Step]:
        before = 0.0
        for seconds, data in self.received:
            if seconds > before:
                yield Pause((seconds - before) / speed)
                before = seconds
            yield data
