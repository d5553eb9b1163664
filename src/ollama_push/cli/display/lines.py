"""Sparse lines for logs, pipes and dumb terminals, and the display that shows errors only."""

from __future__ import annotations

from typing import Final, TextIO

from ollama_push.cli.display.streams import tell, write_line
from ollama_push.cli.messages import USUAL, MessageFormatter, failure_line
from ollama_push.cli.reports import receipt_lines
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import LayerProgress, PushEvent, PushPlanned, StatusChanged
from ollama_push.core.observations import AttemptFailed, AttemptStarted, EventSeen, Observation, RequestRetried
from ollama_push.core.progress import PushProgress
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.manifests import short_digest
from ollama_push.core.units import bytes_text, seconds_text, share_text, speed_text

__all__ = ["Silence", "SparseLines"]

_LINE_EVERY_SECONDS: Final = 5.0
_LEAST_LEFT_SECONDS: Final = 0.05
"""A shorter time would be shown as "0.0 s left"."""


class Silence:
    """Shows only an error."""

    def __init__(self, stream: TextIO, model: str, *, words: MessageFormatter = USUAL) -> None:
        self._stream = stream
        self._model = model
        self._words = words

    def __call__(self, seen: Observation, /) -> None:
        """Ignore *seen*."""

    def succeeded(self, receipt: PushReceipt) -> None:
        """Show nothing: the exit code says it."""

    def failed(self, error: OllamaPushError) -> None:
        """Write the error."""
        write_line(self._stream, failure_line(self._model, error, self._words))

    def cancelled(self, text: str) -> None:
        """Write *text*."""
        tell(self._stream, text)


class SparseLines:
    """Writes a line per phase, and one every few seconds while bytes move.

    Args:
        stream: Usually stderr.
        model: Canonical name.
        expected_bytes: Size of the push, if known.
        words: Formats errors.
    """

    def __init__(
        self, stream: TextIO, model: str, expected_bytes: int | None = None, *, words: MessageFormatter = USUAL
    ) -> None:
        self._stream = stream
        self._model = model
        self._words = words
        self._progress = PushProgress(expected_bytes, model)
        # Layers are uploaded in parallel: each has a first and a last line.
        self._begun: set[str] = set()
        self._done: set[str] = set()
        self._planned = False
        self._written_at = 0.0

    def __call__(self, seen: Observation, /) -> None:
        """Write a line for a new phase, a retry, or progress after some seconds."""
        match seen:
            case AttemptStarted(attempt=attempt) if attempt > 1:
                self._progress.restart()
                self._begun.clear()
                self._done.clear()
                self._write(f"attempt {attempt}", seen.elapsed)
            case AttemptFailed(error=exc, retry_in=wait) | RequestRetried(error=exc, retry_in=wait) if wait is not None:
                self._write(f"{self._words.format(exc)}; retrying in {seconds_text(wait)}", seen.elapsed)
            case EventSeen(event=event, elapsed=elapsed) if self._progress.receive_event(event, elapsed):
                self._show(event, elapsed)
            case _:
                pass

    def succeeded(self, receipt: PushReceipt) -> None:
        """Write the receipt."""
        for line in receipt_lines(receipt):
            self._write(line, receipt.elapsed_seconds)

    def failed(self, error: OllamaPushError) -> None:
        """Write the error."""
        self._write(failure_line(self._model, error, self._words), 0.0)

    def cancelled(self, text: str) -> None:
        """Write *text*."""
        tell(self._stream, text)

    def _show(self, event: PushEvent, elapsed: float) -> None:
        match event:
            case StatusChanged(status):
                self._write(status, elapsed)
            case PushPlanned(total_bytes):
                self._planned = True
                self._write(f"{bytes_text(total_bytes)} in total", elapsed)
            case LayerProgress(digest, total) if self._planned and self._was_there(event):
                self._begun.add(digest)
                self._done.add(digest)
                self._write(f"{short_digest(digest)} already in the registry, {bytes_text(total)}", elapsed)
            case LayerProgress(digest, total, completed):
                first, last = digest not in self._begun, completed >= total and digest not in self._done
                if first or last or elapsed - self._written_at >= _LINE_EVERY_SECONDS:
                    self._write(self._layer_text(event, elapsed), elapsed)
                self._begun.add(digest)
                if completed >= total:
                    self._done.add(digest)
                else:
                    self._done.discard(digest)
            case _:
                pass

    def _was_there(self, event: LayerProgress) -> bool:
        return event.digest not in self._begun and event.completed >= event.total > 0

    def _layer_text(self, event: LayerProgress, elapsed: float) -> str:
        now = self._progress.snapshot(elapsed)
        parts = [f"{event.status} {bytes_text(event.completed)} of {bytes_text(event.total)}"]
        if now.fraction is not None:
            parts.append(f"{share_text(now.fraction)} of all")
        if now.bytes_per_second is not None:
            parts.append(speed_text(now.bytes_per_second))
        if now.eta_seconds is not None and now.eta_seconds >= _LEAST_LEFT_SECONDS:
            parts.append(f"{seconds_text(now.eta_seconds)} left")
        return ", ".join(parts)

    def _write(self, text: str, elapsed: float) -> None:
        self._written_at = elapsed
        write_line(self._stream, text)
