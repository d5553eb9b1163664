"""What one scripted misbehaviour is, and how the push that meets it must end."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
from tests.support.server_push import Expected

from ollama_push.testing.server import Await, Script, Step, head, lines_answer

__all__ = [
    "BOTH",
    "CHUNKED",
    "CLOSED",
    "READ",
    "START",
    "STREAMED",
    "SUCCESS",
    "UNSTREAMED",
    "Case",
    "Place",
    "Wait",
    "lines",
    "tick",
    "told",
]

STREAMED: Final = (True,)
UNSTREAMED: Final = (False,)
BOTH: Final = (True, False)
"""Which ways of asking a case is for: ``"stream": true`` and ``"stream": false``."""

START: Final = b'{"status":"retrieving manifest"}'
SUCCESS: Final = b'{"status":"success"}'
CHUNKED: Final = head(headers={"Transfer-Encoding": "chunked"})
"""A head that keeps the connection; the body comes in chunks."""
CLOSED: Final = head(headers={"Connection": "close"})
"""A head whose body ends with the connection."""


class Wait(enum.Enum):
    """Steps that need the client's help."""

    UNTIL_READ = "until the client has told its first event"


READ: Final = Wait.UNTIL_READ
"""Go on when the client has read what was sent so far, so that nothing depends on how bytes travel together."""


class Place(enum.Enum):
    """What listens, and how it is addressed."""

    HTTP = "plain HTTP"
    HTTPS_TO_PLAIN = "https:// to a plain server"
    HTTP_TO_TLS = "http:// to a TLS server"
    UNTRUSTED = "https:// to a server whose CA is unknown"
    REFUSED = "nothing"


def _as_tuple(steps: Iterable[Step | Wait]) -> tuple[Step | Wait, ...]:
    return tuple(steps)


@attrs.frozen
class Case:
    """One misbehaviour.

    Attributes:
        id: What the server does, in words.
        script: What it sends.
        expected: How the push ends, whatever the library.
        ways: Whether it is asked to stream, or not, or both.
        place: What listens.
        unlike: Other ends, by driver, where a library cannot see what the others see.
        because: Why; told when ``unlike`` is.
        stall_timeout: What the client is built with, in seconds.
    """

    id: str
    script: tuple[Step | Wait, ...] = attrs.field(converter=_as_tuple, repr=False)
    expected: Expected
    ways: tuple[bool, ...] = BOTH
    place: Place = Place.HTTP
    unlike: Mapping[str, Expected] = attrs.field(factory=dict)
    because: str = attrs.field(default="")
    stall_timeout: float = 5.0

    @because.validator
    def _explains(self, _attribute: attrs.Attribute[str], value: str) -> None:
        if bool(value) is not bool(self.unlike):
            raise ValueError(f"{self.id}: a library that differs needs a reason, and a reason such a library")

    @property
    def says_success(self) -> bool:
        """Whether the success line is anywhere in the script, be it past what a client has to read."""
        return any(SUCCESS in step for step in self.script if isinstance(step, bytes))

    def steps(self, read: threading.Event) -> Script:
        """Return the script; *read* is set when the client has told its first event."""
        return [Await(read, self.stall_timeout) if isinstance(step, Wait) else step for step in self.script]

    def end_with(self, driver: str) -> Expected:
        """Return how the push ends with one driver."""
        return self.unlike.get(driver, self.expected)


def told(*said: bytes, end: bool = True) -> list[Step]:
    """Return a streamed answer: one chunk a line, newlines added."""
    return lines_answer(said, end=end)


def lines(*said: bytes) -> bytes:
    """Return lines as one body."""
    return b"".join(line + b"\n" for line in said)


def tick(completed: Any, total: Any = 100, digest: str = "sha256:aa") -> bytes:
    """Return one line of a layer's progress; counters that are ``None`` are absent."""
    counters: Iterable[tuple[str, Any]] = (("total", total), ("completed", completed))
    shown = "".join(f',"{key}":{value}' for key, value in counters if value is not None)
    return f'{{"status":"pushing aa","digest":"{digest}"{shown}}}'.encode()
