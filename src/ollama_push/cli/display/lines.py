"""Sparse lines for logs, pipes and dumb terminals, and the display that shows errors only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Self, TextIO

from ollama_push.cli.display.silence import SilenceWatch
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
_SILENCE_SECONDS: Final = 30.0
"""A CI system ends a job that says nothing for some minutes, and people before that."""
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
    """Writes a line per phase, one every few seconds while bytes move, and one every half a minute while nothing does.

    Args:
        stream: Usually stderr.
        model: Canonical name.
        expected_bytes: Size of the push, if known.
        words: Formats errors.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        model: str,
        expected_bytes: int | None = None,
        *,
        words: MessageFormatter = USUAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at = self._said_at = self._news_at = clock()
        self._last: PushEvent | float | None = None  # the last news: an event, or the seconds of a wait before a retry
        self._watch: SilenceWatch | None = None
        self._stream = stream
        self._model = model
        self._words = words
        self._progress = PushProgress(expected_bytes, model)
        # Layers are uploaded in parallel: each has a first and a last line.
        self._begun: set[str] = set()
        self._done: set[str] = set()
        self._planned = False
        self._written_at = 0.0

    def watched(self) -> Self:
        """Break silences from now on, from a thread of its own, until the outcome is written; return this display."""
        self._watch = SilenceWatch(self.break_silence)
        return self

    def break_silence(self) -> float:
        """Write what is waited for, if nothing was written for long; return the seconds until the next look."""
        with self._lock:
            now = self._clock()
            if now - self._said_at >= _SILENCE_SECONDS:
                idle = f"no news for {seconds_text(now - self._news_at)}"
                self._say(f"waiting for {self._awaited()}: {idle}, {seconds_text(now - self._began_at)} so far")
            return self._said_at + _SILENCE_SECONDS - now

    def __call__(self, seen: Observation, /) -> None:
        """Write a line for a new phase, a retry, or progress after some seconds."""
        with self._lock:
            self._take(seen)

    def _take(self, seen: Observation) -> None:
        match seen:
            case AttemptStarted(attempt=attempt) if attempt > 1:
                self._progress.restart()
                self._begun.clear()
                self._done.clear()
                self._write(f"attempt {attempt}", seen.elapsed)
            case AttemptFailed(error=exc, retry_in=wait) | RequestRetried(error=exc, retry_in=wait) if wait is not None:
                self._write(f"{self._words.format(exc)}; retrying in {seconds_text(wait)}", seen.elapsed)
                self._news_at, self._last = self._clock(), wait
            case EventSeen(event=event, elapsed=elapsed) if self._progress.receive_event(event, elapsed):
                self._news_at, self._last = self._clock(), event
                self._show(event, elapsed)
            case _:
                pass

    def succeeded(self, receipt: PushReceipt) -> None:
        """Write the receipt."""
        self._end()
        for line in receipt_lines(receipt):
            self._write(line, receipt.elapsed_seconds)

    def failed(self, error: OllamaPushError) -> None:
        """Write the error."""
        self._end()
        self._write(failure_line(self._model, error, self._words), 0.0)

    def cancelled(self, text: str) -> None:
        """Write *text*."""
        self._end()
        tell(self._stream, text)

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.stop()

    def _awaited(self) -> str:
        """Return what is waited for after the last news."""
        match self._last:
            case None:
                return "the first response"
            case float() | int() as seconds:
                return f"a retry, which was to come after {seconds_text(seconds)}"
            case LayerProgress(digest, total, completed) if completed < total:
                return (
                    f"more of {short_digest(digest)}, of which {bytes_text(completed)} of {bytes_text(total)} are there"
                )
            case LayerProgress(digest):
                return f"what follows {short_digest(digest)}, all of which is there"
            case event:
                return f"what follows {event.status!r}"

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
                self._write(f"{short_digest(digest)} already there, {bytes_text(total)}", elapsed)
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
        self._say(text)

    def _say(self, text: str) -> None:
        self._said_at = self._clock()
        write_line(self._stream, text)
