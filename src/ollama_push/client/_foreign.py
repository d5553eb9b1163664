"""Decides which exceptions are nobody's error here: neither ours, nor what a transport raises of its own."""

from __future__ import annotations

from typing import Final

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.raisers import frames_of, raise_as_it_is, raised_by_signal

__all__ = ["raise_foreign"]

_ADAPTERS: Final = "ollama_push.transports"


def raise_foreign(exc: Exception, handed_over: Exception | None = None) -> None:
    """Raise *exc*, or what it was made from, as it is, unless it is an error of ours or of a transport's own.

    Call it where *exc* is caught.

    Args:
        exc: What ended a request.
        handed_over: What was raised while the caller had an event in hand.
    """
    if (foreign := raised_by_signal(exc)) is not None:
        raise_as_it_is(foreign)
    if isinstance(exc, OllamaPushError):
        return
    # The adapters of this package translate whatever their libraries raise. What they let through came from outside:
    # a time limit of a thread or a greenlet, for example.
    if exc is handed_over or any(frame.f_globals.get("__package__") == _ADAPTERS for frame in frames_of(exc)):
        raise_as_it_is(exc)
