"""One JSON object per line, for programs. The schema is ``docs/progress.schema.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TextIO

import attrs

from ollama_push.cli.display.streams import tell, write_line, write_whole
from ollama_push.cli.exit_codes import exit_code, reason_of
from ollama_push.cli.messages import USUAL, MessageFormatter, failure_line
from ollama_push.cli.reports import pullability_fields
from ollama_push.core.errors import OllamaPushError, PushInterrupted
from ollama_push.core.events import LayerProgress, PushEvent, PushPlanned, StatusChanged
from ollama_push.core.observations import AttemptFailed, AttemptStarted, EventSeen, Observation, RequestRetried
from ollama_push.core.progress import PushProgress
from ollama_push.core.receipts import PushReceipt

__all__ = ["JsonLines", "failure_fields", "json_line"]

# "model" is in every line; "verified" is false where reading was refused.
_NOT_WRITTEN: Final = frozenset({"model", "pullability", "read_refused"})


def json_line(kind: str, model: str, fields: Mapping[str, Any]) -> str:
    """Return one object; in ASCII, so it holds no control characters and no encoding lacks any of it."""
    return json.dumps({"event": kind, "model": model, **fields}, separators=(",", ":"))


def failure_fields(error: OllamaPushError, message: str, attempts: int) -> dict[str, Any]:
    """Return the fields of a failure, in their order."""
    return {
        "error": type(error).__name__,
        "reason": reason_of(error),
        "message": message,
        "exit_code": exit_code(error),
        "attempts": attempts,
        "signin_url": getattr(error, "signin_url", None),
    }


class JsonLines:
    """Writes each new fact as an object in one flushed write; keys in a fixed order.

    If the reader closes the pipe, one line on *notices* says so and the push continues: the upload matters more than
    its display.

    Args:
        stream: Usually stdout.
        notices: For messages to people, usually stderr.
        model: Canonical name, in every object.
        expected_bytes: Size of the push, if known; without it ``overall`` is ``null``.
        words: Formats errors.
    """

    def __init__(
        self,
        stream: TextIO,
        notices: TextIO,
        model: str,
        expected_bytes: int | None = None,
        *,
        words: MessageFormatter = USUAL,
    ) -> None:
        self._stream = stream
        self._notices = notices
        self._model = model
        self._words = words
        self._attempt = 0
        self._progress = PushProgress(expected_bytes, model)
        self._gone = False

    def __call__(self, seen: Observation, /) -> None:
        """Write *seen*, unless it repeats the last object."""
        match seen:
            case AttemptStarted(attempt=attempt):
                self._attempt = attempt
                if attempt > 1:
                    self._progress.restart()
            case AttemptFailed(attempt=attempt, error=error, retry_in=retry_in) if retry_in is not None:
                self._write_retry(attempt, error, retry_in)
            case RequestRetried(error=error, retry_in=retry_in):
                # A push straight to a registry is one attempt, which retries single requests.
                self._write_retry(1, error, retry_in)
            case EventSeen(event=event, elapsed=elapsed) if self._progress.receive_event(event, elapsed):
                self._write_event(event, elapsed)
            case _:
                pass

    def succeeded(self, receipt: PushReceipt) -> None:
        """Write the receipt, the last object."""
        fields = attrs.asdict(receipt, filter=lambda field, _value: field.name not in _NOT_WRITTEN)
        self._write("succeeded", {**fields, "pullability": pullability_fields(receipt.pullability)})

    def failed(self, error: OllamaPushError) -> None:
        """Write the error, the last object; for people it is a line on the notices, too."""
        self._write("failed", failure_fields(error, self._words.format(error), error.attempts))
        write_line(self._notices, failure_line(self._model, error, self._words))

    def cancelled(self, text: str) -> None:
        """Write the last object to the stream, and *text* to the notices."""
        self._write("failed", failure_fields(PushInterrupted(), text, self._attempt))
        tell(self._notices, text)

    def _write_retry(self, attempt: int, error: OllamaPushError, retry_in: float) -> None:
        fields = {"attempt": attempt, "error": type(error).__name__, "message": self._words.format(error)}
        self._write("retry", {**fields, "retry_in_seconds": retry_in})

    def _write_event(self, event: PushEvent, elapsed: float) -> None:
        match event:
            case PushPlanned(total_bytes, status):
                self._write("planned", {"total_bytes": total_bytes, "status": status})
            case StatusChanged(status):
                self._write("status", {"status": status})
            case LayerProgress(digest, total, completed):
                overall = self._progress.snapshot(elapsed).fraction
                # Below 1.0, which only success has.
                share = None if overall is None else min(round(overall, 6), 0.999999)
                self._write("progress", {"digest": digest, "completed": completed, "total": total, "overall": share})
            case _:
                pass  # "succeeded" follows, with the receipt

    def _write(self, kind: str, fields: Mapping[str, Any]) -> None:
        if self._gone:
            return
        # One write per line, so that a reader never sees a part of an object, even if the process is killed.
        failure = write_whole(self._stream, f"{json_line(kind, self._model, fields)}\n")
        if failure is not None:
            self._gone = True
            said = failure.strerror or failure
            write_line(
                self._notices, f"stdout cannot be written ({said}): no more JSON. The push goes on; Ctrl-C stops it."
            )
