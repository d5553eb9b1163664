"""The caller's mistakes: what was asked cannot be done, whatever the peer says."""

from __future__ import annotations

from typing import Self

import attrs

from ollama_push.core.errors.root import OllamaPushError, plain_words, shorten
from ollama_push.core.redaction import redact

__all__ = [
    "InvalidModelName",
    "InvalidSetting",
    "MachineMisuse",
    "TransportMisbehaved",
    "UsedAfterClose",
]


@attrs.define(eq=False, slots=False)
class InvalidModelName(OllamaPushError, ValueError):
    """The name cannot be pushed; nothing was sent.

    Attributes:
        name: The text as given.
        problem: What is wrong with it and what would be right.
    """

    name: str
    problem: str

    def __str__(self) -> str:
        return f"{shorten(self.name)}: {self.problem}"


@attrs.define(eq=False, slots=False)
class InvalidSetting(OllamaPushError, ValueError):
    """An argument or an environment variable holds a value nobody could use.

    Attributes:
        setting: Name of the argument or variable.
        value: Its value, shown unless *secret*.
        problem: What was expected instead.
    """

    setting: str
    value: object = attrs.field(repr=shorten)
    problem: str

    def __str__(self) -> str:
        return f"{self.setting}={shorten(self.value)}: {plain_words(self.problem)}"


@attrs.define(eq=False, slots=False)
class UsedAfterClose(OllamaPushError, RuntimeError):
    """Something was asked of a client or transport that is closed.

    Attributes:
        what: Class name of the closed object.
    """

    what: str

    def __str__(self) -> str:
        return f"this {self.what} is closed; build a new one"


@attrs.define(eq=False, slots=False)
class MachineMisuse(OllamaPushError, RuntimeError):
    """A state machine was driven against its rules: a bug in the caller, never the peer's.

    Attributes:
        problem: The broken rule.
    """

    problem: str

    def __str__(self) -> str:
        return self.problem


@attrs.define(eq=False, slots=False)
class TransportMisbehaved(OllamaPushError, RuntimeError):
    """A transport raised an exception that is no ``TransportError`` (clause T7).

    The exception itself is the ``__cause__``.

    Attributes:
        transport: Class name of the transport.
        raised: ``repr`` of what it raised, redacted and cut.
    """

    transport: str
    raised: str = attrs.field(converter=redact)

    @classmethod
    def by(cls, transport: object, exc: Exception) -> Self:
        """Return the error for *exc*, which *transport* raised, chained."""
        error = cls(type(transport).__name__, shorten(exc, 200))
        error.__cause__ = exc
        return error

    def __str__(self) -> str:
        return f"{self.transport} raised {self.raised}; a transport may raise only TransportError kinds"
