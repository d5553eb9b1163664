"""An OpenTelemetry span per push, with its attempts below it (extra ``otel``)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import attrs

from ollama_push.core.errors import OllamaPushError, PushStalled, ServerError
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    Observation,
    PushContext,
    PushFinished,
    PushOutcome,
    PushStarted,
    RequestRetried,
    RolledBack,
)
from ollama_push.core.redaction import redact
from ollama_push.core.version import __version__

try:
    from opentelemetry import propagate, trace
except ImportError as _exc:
    raise ImportError("TracingHook needs: pip install 'ollama-push[otel]'") from _exc

__all__ = ["TracingHook"]

_ATTEMPT_SPAN: Final = "POST /api/push"


@attrs.define
class _Spans:
    push: trace.Span
    attempt: trace.Span | None = None


class TracingHook:
    """Opens a span ``push <model>`` per push, a client span per attempt, and events for stalls, retries, rollbacks.

    The headers of the request carry the context of the attempt (W3C Trace Context, or the propagator that is set).
    The span is a child of the span that is current where the push begins.

    Args:
        tracer_provider: Default: the global one.
    """

    min_interval: float = 60.0  # spans do not use progress

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("ollama_push", __version__, tracer_provider)
        self._spans: WeakKeyDictionary[PushContext, _Spans] = WeakKeyDictionary()

    def __call__(self, seen: Observation, /) -> None:
        """Open, mark or end spans."""
        if isinstance(seen, PushStarted):
            attributes = {"ollama_push.model": seen.push.model, **_server(seen.push)}
            span = self._tracer.start_span(f"push {seen.push.model}", attributes=attributes)
            self._spans[seen.push] = _Spans(span)
        elif (spans := self._spans.get(seen.push)) is not None:
            self._mark(spans, seen)

    def _mark(self, spans: _Spans, seen: Observation) -> None:
        match seen:
            case AttemptStarted(attempt=attempt, trace_headers=headers):
                context = trace.set_span_in_context(spans.push)
                attributes = {"ollama_push.attempt": attempt, "http.request.method": "POST", **_server(seen.push)}
                spans.attempt = self._tracer.start_span(
                    _ATTEMPT_SPAN, context, trace.SpanKind.CLIENT, attributes=attributes
                )
                propagate.inject(headers, trace.set_span_in_context(spans.attempt))
            case RolledBack(digest=digest, rolled_back_bytes=count):
                facts: dict[str, Any] = {"ollama_push.digest": redact(digest), "ollama_push.rolled_back_bytes": count}
                (spans.attempt or spans.push).add_event("rollback", facts)
            case AttemptFailed(error=error, retry_in=wait) | RequestRetried(error=error, retry_in=wait):
                if isinstance(error, PushStalled):
                    spans.push.add_event("stall", {"ollama_push.stalled_seconds": error.seconds})
                if wait is not None:
                    facts = {"ollama_push.retry_in_seconds": wait, "error.type": type(error).__name__}
                    spans.push.add_event("retry", facts)
                if isinstance(seen, AttemptFailed):
                    _end(spans.attempt, error)
                    spans.attempt = None
            case PushFinished(push=push, outcome=outcome, error=error):
                _end(spans.attempt, None)
                spans.push.set_attribute("ollama_push.outcome", outcome.value)
                _end(spans.push, error if outcome is PushOutcome.FAILED else None)
                del self._spans[push]
            case _:
                pass


def _server(push: PushContext) -> dict[str, Any]:
    """Return host and port as two attributes (OpenTelemetry semantic conventions, "HTTP client span")."""
    parts = urlsplit(push.target)
    facts: dict[str, Any] = {"server.address": parts.hostname or push.target}
    if parts.port is not None:
        facts["server.port"] = parts.port
    return facts


def _end(span: trace.Span | None, error: OllamaPushError | None) -> None:
    if span is None:
        return
    if error is not None:
        facts: dict[str, Any] = {"error.type": type(error).__name__}
        if isinstance(error, ServerError):
            facts["http.response.status_code"] = error.status
        span.set_attributes(facts)
        span.set_status(trace.StatusCode.ERROR, str(error))
    span.end()
