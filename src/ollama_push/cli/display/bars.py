"""Bars for a terminal: ``RichProgress``, and the outcome in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from rich.console import Console

from ollama_push.cli.display.streams import steady
from ollama_push.cli.messages import USUAL, MessageFormatter, failure_line
from ollama_push.cli.reports import receipt_lines
from ollama_push.contrib.progress import RichProgress
from ollama_push.core.errors import OllamaPushError, PushInterrupted
from ollama_push.core.messages import printable
from ollama_push.core.observations import AttemptFailed, Observation, RequestRetried
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.units import seconds_text

__all__ = ["Bars"]


class Bars(RichProgress):
    """Draws the bars of one push, and prints retries and the outcome.

    If the terminal can no longer be written, the push continues without a display.

    Args:
        stream: The terminal.
        model: Canonical name.
        expected_bytes: Size of the push, if known.
        words: Formats errors.
        console: Replaces the one that is built for *stream*.
        clock: Monotonic seconds, for rich's own animation.
    """

    def __init__(
        self,
        stream: TextIO,
        model: str,
        expected_bytes: int | None = None,
        *,
        words: MessageFormatter = USUAL,
        console: Console | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._terminal = Console(file=steady(stream)) if console is None else console
        super().__init__(self._terminal, expected_bytes=expected_bytes, clock=clock)
        self._model = model
        self._words = words

    def __call__(self, seen: Observation, /) -> None:
        """Draw *seen*; a retry is a line above the bars."""
        match seen:
            case AttemptFailed(error=exc, retry_in=wait) | RequestRetried(error=exc, retry_in=wait) if wait is not None:
                self._print(f"{self._words.format(exc)}; retrying in {seconds_text(wait)}")
            case _:
                pass
        super().__call__(seen)

    def succeeded(self, receipt: PushReceipt) -> None:
        """Print the receipt."""
        *more, verdict = receipt_lines(receipt)
        for line in more:
            self._print(line)
        self._print(verdict, "green")

    def failed(self, error: OllamaPushError) -> None:
        """Print the error."""
        line = failure_line(self._model, error, self._words)
        self._print(line, "yellow" if isinstance(error, PushInterrupted) else "red")

    def cancelled(self, text: str) -> None:
        """Print *text*; the last picture of the bars has overwritten the "^C" of the terminal."""
        self._print(text, "yellow")

    def _print(self, text: str, style: str | None = None) -> None:
        # soft_wrap: the terminal wraps lines instead of rich, so that a copied address has no line break in it.
        printed = printable(text)
        self.write_above(
            lambda: self._terminal.print(printed, style=style, markup=False, highlight=False, soft_wrap=True)
        )
