"""Displays of a push: bars or lines for people, JSON for programs, or errors only.

A display is a hook, with methods of its own for the outcome, because a push that never began has no observations.
"""

from __future__ import annotations

import os
import sys
from typing import Protocol

from ollama_push.cli.messages import USUAL, MessageFormatter
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.observations import Observation
from ollama_push.core.receipts import PushReceipt

__all__ = ["CHOICES", "Display", "is_capable_terminal", "new_display"]

CHOICES = ("auto", "bar", "lines", "json", "none")


class Display(Protocol):
    """Shows one push."""

    def __call__(self, seen: Observation, /) -> None:
        """Take an observation."""

    def succeeded(self, receipt: PushReceipt) -> None:
        """Show a success."""

    def failed(self, error: OllamaPushError) -> None:
        """Show a failure."""

    def cancelled(self, text: str) -> None:
        """Show that the push was cancelled; *text* says what that means."""


def new_display(choice: str, model: str, expected_bytes: int | None, words: MessageFormatter = USUAL) -> Display:
    """Return the display for one push of *model*: JSON on stdout, everything else on stderr."""
    if choice == "auto":
        choice = "bar" if is_capable_terminal() else "lines"
    match choice:
        case "bar":
            from ollama_push.cli.display.bars import Bars

            return Bars(sys.stderr, model, expected_bytes, words=words)
        case "lines":
            from ollama_push.cli.display.lines import SparseLines

            return SparseLines(sys.stderr, model, expected_bytes, words=words).watched()
        case "json":
            from ollama_push.cli.display.json_lines import JsonLines

            return JsonLines(sys.stdout, sys.stderr, model, expected_bytes, words=words)
        case _:
            from ollama_push.cli.display.lines import Silence

            return Silence(sys.stderr, model, words=words)


def is_capable_terminal() -> bool:
    """Say whether stderr can redraw a line; the log viewer of a CI system cannot, even if it is a terminal."""
    return (
        sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "") and "CI" not in os.environ
    )
