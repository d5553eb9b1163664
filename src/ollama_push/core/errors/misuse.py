"""The caller's mistakes: what was asked cannot be done, whatever the peer says."""

from __future__ import annotations

from typing import Self

import attrs

from ollama_push.core.errors.root import OllamaPushError
from ollama_push.core.facts import Advice
from ollama_push.core.messages import Messages, shorten
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
        advice: What may help beyond that.
    """

    name: str
    problem: str
    advice: Advice | None = None

    def render(self, messages: Messages) -> str:
        return messages.invalid_name(self.name, self.problem, self.advice)


@attrs.define(eq=False, slots=False)
class InvalidSetting(OllamaPushError, ValueError):
    """An argument or an environment variable holds a value nobody could use.

    Attributes:
        setting: Name of the argument or variable.
        value: Its value, shown unless *secret*.
        problem: What was expected instead.
        advice: What may help beyond that.
    """

    setting: str
    value: object = attrs.field(repr=shorten)
    problem: str
    advice: Advice | None = None

    def render(self, messages: Messages) -> str:
        return messages.invalid_setting(self.setting, self.value, self.problem, self.advice)


@attrs.define(eq=False, slots=False)
class UsedAfterClose(OllamaPushError, RuntimeError):
    """Something was asked of a client or transport that is closed.

    Attributes:
        what: Class name of the closed object.
    """

    what: str

    def render(self, messages: Messages) -> str:
        return messages.used_after_close(self.what)


@attrs.define(eq=False, slots=False)
class MachineMisuse(OllamaPushError, RuntimeError):
    """A state machine was driven against its rules: a bug in the caller, never the peer's.

    Attributes:
        problem: The broken rule.
    """

    problem: str

    def render(self, messages: Messages) -> str:
        return messages.other(self.problem)


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

    def render(self, messages: Messages) -> str:
        return messages.transport_misbehaved(self.transport, self.raised)
