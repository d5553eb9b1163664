"""Bars for people at a terminal: ``RichProgress`` plus the verdict in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from rich.console import Console

from ollama_push.cli.display.streams import steady
from ollama_push.cli.messages import USUAL, MessageFormatter, failure_line
from ollama_push.cli.reports import printable, receipt_text
from ollama_push.contrib.progress import RichProgress
from ollama_push.core.errors import OllamaPushError, PushInterrupted
from ollama_push.core.observations import AttemptFailed, Observation, RequestRetried
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.units import seconds_text

__all__ = ["Bars"]


class Bars(RichProgress):
    """Draws the bars of one push and says what cannot be drawn.

    A terminal that cannot be written any more gets nothing; the push goes on.

    Args:
        stream: The terminal.
        model: Canonical name.
        expected_bytes: Size of the push, if known.
        words: How errors are put.
        console: Instead of one built for *stream*.
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
        """Draw *seen*; what is tried again is a line above the bars."""
        match seen:
            case RequestRetried(error=error, retry_in=retry_in):
                self._say(f"{self._words.format(error)}; retrying in {seconds_text(retry_in)}")
            case AttemptFailed(error=error, retry_in=retry_in) if retry_in is not None:
                self._say(f"{self._words.format(error)}; retrying in {seconds_text(retry_in)}")
            case _:
                pass
        super().__call__(seen)

    def succeeded(self, receipt: PushReceipt) -> None:
        """Say the receipt."""
        self._say(receipt_text(receipt), "green")

    def failed(self, error: OllamaPushError) -> None:
        """Say the error."""
        line = failure_line(self._model, error, self._words)
        self._say(line, "yellow" if isinstance(error, PushInterrupted) else "red")

    def cancelled(self, text: str) -> None:
        """Say what was left; the terminal's "^C" went when the bars were drawn for the last time."""
        self._say(text, "yellow")

    def _say(self, text: str, style: str | None = None) -> None:
        # soft_wrap: the terminal breaks lines, so that a copied address is whole.
        self._terminal.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)
