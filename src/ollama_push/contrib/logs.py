"""Logs pushes with the standard library's ``logging``: a line per phase, not one per progress report.

structlog users get the same fields through its standard-library bridge
(``structlog.stdlib.ProcessorFormatter`` with ``ExtraAdder``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from ollama_push.core.errors import OllamaPushError, PushRejected, ServerError
from ollama_push.core.events import LayerProgress, PushEvent, PushPlanned, StatusChanged
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    EventSeen,
    Observation,
    PushContext,
    PushFinished,
    PushOutcome,
    PushStarted,
    RequestPaused,
    RequestRetried,
    RolledBack,
)
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.redaction import redact

__all__ = ["LogHook"]

_SECONDS: Final = 3  # digits kept


@attrs.define
class _Logged:
    """What was logged of one push, so that it is logged once."""

    status: str = ""
    done: set[str] = attrs.field(factory=set)


@attrs.define
class LogHook:
    """Logs pushes. INFO: start, phases, finished layers, outcome; DEBUG: attempts, rollbacks and waits.

    WARNING: retries; ERROR: a push that failed. Each record carries its facts as
    ``extra`` fields, all prefixed ``push_``: ``model, target, elapsed_seconds`` always; by kind ``attempt,
    status, digest, total_bytes, rolled_back_bytes, retry_in_seconds, error, reason, outcome``, and for pushes
    straight to a registry ``pause, paused_seconds, sent_bytes, skipped_bytes, resumed_bytes, verified,
    manifest_digest``.
    Texts of a peer are redacted and put on one line, so that they neither leak a secret nor forge a line.

    Attributes:
        logger: Default: ``ollama_push``.
        min_interval: Seconds between two looks at a layer's progress; lines are per layer anyway.
        describe: Renders an error; ``str`` when not given.
    """

    logger: logging.Logger = attrs.field(factory=lambda: logging.getLogger("ollama_push"))
    min_interval: float = 0.25
    describe: Callable[[OllamaPushError], str] = str
    _logged: WeakKeyDictionary[PushContext, _Logged] = attrs.field(factory=WeakKeyDictionary, init=False, repr=False)

    def __call__(self, seen: Observation, /) -> None:
        """Log *seen*, unless it repeats what was logged."""
        match seen:
            case EventSeen(event=event):
                self._log_event(seen, event)
            case PushStarted(push=push):
                # Where it goes is not known of a name that is none.
                to = f" to {push.target}" if push.target else ""
                self._log(logging.INFO, seen, "pushing %s%s", push.model, to)
            case AttemptStarted(attempt=attempt):
                self._logged[seen.push] = _Logged()
                self._log(logging.DEBUG, seen, "attempt %d started", attempt, attempt=attempt)
            case RolledBack(digest=digest, rolled_back_bytes=count):
                text, digest = "layer %s rolled back by %d bytes", _one_line(digest)
                self._log(logging.DEBUG, seen, text, digest, count, digest=digest, rolled_back_bytes=count)
            case RequestRetried(error=error, retry_in=wait):
                facts = {"retry_in_seconds": round(wait, _SECONDS), **_facts(error)}
                text = "a request failed: %s; retrying in %.1f s"
                self._log(logging.WARNING, seen, text, _one_line(self.describe(error)), wait, **facts)
            case RequestPaused(reason=paused, seconds=seconds):
                facts = {"pause": paused.value, "paused_seconds": round(seconds, _SECONDS)}
                self._log(logging.DEBUG, seen, "held back for %.1f s (%s)", seconds, paused.value, **facts)
            case AttemptFailed(attempt=attempt, error=error, retry_in=wait) if wait is not None:
                facts = {"attempt": attempt, "retry_in_seconds": round(wait, _SECONDS), **_facts(error)}
                text = "attempt %d failed: %s; retrying in %.1f s"
                self._log(logging.WARNING, seen, text, attempt, _one_line(self.describe(error)), wait, **facts)
            case PushFinished(outcome=outcome, error=error):
                self._log_outcome(seen, outcome, error)
            case _:
                pass

    def _log_event(self, seen: EventSeen, event: PushEvent) -> None:
        logged = self._logged.setdefault(seen.push, _Logged())
        match event:
            case LayerProgress(digest=digest, total=total, completed=completed):
                if completed >= total and digest not in logged.done:
                    logged.done.add(digest)
                    text, digest = "layer %s is complete (%d bytes)", _one_line(digest)
                    self._log(logging.INFO, seen, text, digest, total, digest=digest, total_bytes=total)
            case PushPlanned(total_bytes=total):
                self._log(logging.INFO, seen, "%d bytes in total", total, total_bytes=total)
            case StatusChanged(status=status) if status != logged.status:
                logged.status = status
                status = _one_line(status)
                self._log(logging.INFO, seen, "%s", status, status=status)
            case _:
                pass

    def _log_outcome(self, seen: PushFinished, outcome: PushOutcome, error: OllamaPushError | None) -> None:
        facts: dict[str, Any] = {"outcome": outcome.value, **_facts(error)}
        match outcome:
            case PushOutcome.FAILED:
                text = "an unexpected exception" if error is None else _one_line(self.describe(error))
                self._log(logging.ERROR, seen, "push failed: %s", text, **facts)
            case PushOutcome.CANCELLED if error is not None:
                self._log(logging.WARNING, seen, "push ended: %s", _one_line(self.describe(error)), **facts)
            case PushOutcome.CANCELLED:
                self._log(logging.WARNING, seen, "push cancelled after %.1f s", seen.elapsed, **facts)
            case PushOutcome.SUCCEEDED:
                total = seen.receipt.total_bytes if seen.receipt is not None else None
                facts |= _delivery(seen.receipt)
                text = "pushed %s in %.1f s" if total is None else "pushed %s, %d bytes in %.1f s"
                if seen.receipt is not None and seen.receipt.sent_bytes is not None:
                    text += f": {seen.receipt.sent_bytes} sent, {seen.receipt.skipped_bytes} already there"
                    text += f", {seen.receipt.resumed_bytes} resumed" if seen.receipt.resumed_bytes else ""
                size = () if total is None else (total,)
                self._log(logging.INFO, seen, text, seen.push.model, *size, seen.elapsed, total_bytes=total, **facts)

    def _log(self, level: int, seen: Observation, text: str, *args: object, **facts: Any) -> None:
        if not self.logger.isEnabledFor(level):
            return
        extra = {
            "push_model": seen.push.model,
            "push_target": seen.push.target,
            "push_elapsed_seconds": round(seen.elapsed, _SECONDS),
            **{f"push_{name}": value for name, value in facts.items()},
        }
        self.logger.log(level, text, *args, extra=extra)


def _facts(error: OllamaPushError | None) -> dict[str, Any]:
    if error is None:
        return {}
    reason = error.reason.value if isinstance(error, PushRejected | ServerError) else None
    return {"error": type(error).__name__, "reason": reason}


def _delivery(receipt: PushReceipt | None) -> dict[str, Any]:
    """Return the facts that only pushes straight to a registry have."""
    if receipt is None or receipt.manifest_digest is None:
        return {}
    names = ("sent_bytes", "skipped_bytes", "resumed_bytes", "verified", "manifest_digest")
    return {name: getattr(receipt, name) for name in names}


def _one_line(text: str) -> str:
    """Return *text* of a peer without secrets, line breaks and control characters."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(redact(text).split()))
