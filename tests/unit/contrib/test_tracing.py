"""The spans of a push, and the context that travels with its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.support.observation_sequences import (
    ELEVEN_PUSHES,
    cancelled,
    direct,
    refused,
    retried,
    rolled_back,
    stalled_then_done,
)

from ollama_push import AsyncPushClient, PushClient
from ollama_push.contrib.tracing import TracingHook
from ollama_push.core.ports import Hook
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.server import ScriptedServer, json_answer, lines_answer

_TICK = b'{"status":"p","digest":"sha256:a","total":9,"completed":%d}'
_AT_ONCE = RetryPolicy(base=0)


class Beginnings(SpanProcessor):
    """Keeps the spans that began, in order; by the clock two of them may be one."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.ids.append(_id_of(span))


class Traced:
    """A hook and the spans it made."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.begun = Beginnings()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.begun)
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.hook = TracingHook(self.provider)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Ended spans, in the order in which they began."""
        return tuple(sorted(self._spans.get_finished_spans(), key=lambda span: self.begun.ids.index(_id_of(span))))

    def of(self, story: Callable[[Hook], None]) -> tuple[ReadableSpan, ...]:
        """Return the spans of one push."""
        story(self.hook)
        return self.spans


def _id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    number: int = span.context.span_id
    return number


def _parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def _traceparent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


def _events(span: ReadableSpan) -> list[tuple[str, dict[str, object]]]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]


def test_a_retried_push_is_one_span_with_a_client_span_per_attempt() -> None:
    push, first, second = Traced().of(retried)
    assert push.name == "push myuser/my-llama:latest"
    assert push.kind is SpanKind.INTERNAL
    assert _parent_of(push) is None
    for number, attempt in enumerate((first, second), 1):
        assert attempt.name == "POST /api/push"
        assert attempt.kind is SpanKind.CLIENT
        assert _parent_of(attempt) == _id_of(push)
        facts = attempt.attributes or {}
        assert facts["ollama_push.attempt"] == number
        assert facts["http.request.method"] == "POST"
    assert _events(push) == [("retry", {"ollama_push.retry_in_seconds": 1.0, "error.type": "ConnectionLost"})]


def test_only_the_attempt_that_failed_has_an_error_when_the_push_succeeds() -> None:
    push, first, second = Traced().of(retried)
    assert first.status.status_code is StatusCode.ERROR
    assert (first.attributes or {})["error.type"] == "ConnectionLost"
    assert second.status.status_code is StatusCode.UNSET
    assert push.status.status_code is StatusCode.UNSET
    assert (push.attributes or {})["ollama_push.outcome"] == "succeeded"


def test_a_rollback_is_an_event_of_its_attempt() -> None:
    push, attempt = Traced().of(rolled_back)
    assert _events(attempt) == [
        ("rollback", {"ollama_push.digest": "sha256:a", "ollama_push.rolled_back_bytes": 40}),
    ]
    assert push.events == ()


def test_a_stall_and_the_retry_after_it_are_events_of_the_push() -> None:
    push, _first, _second = Traced().of(stalled_then_done)
    assert _events(push) == [
        ("stall", {"ollama_push.stalled_seconds": 61.0}),
        ("retry", {"ollama_push.retry_in_seconds": 1.0, "error.type": "PushStalled"}),
    ]


def test_a_request_of_a_direct_push_that_is_sent_again_is_an_event_of_the_push() -> None:
    push, _attempt = Traced().of(direct)
    assert _events(push) == [("retry", {"ollama_push.retry_in_seconds": 2.0, "error.type": "ConnectionLost"})]


def test_a_refused_push_and_its_attempt_end_in_the_same_error() -> None:
    spans = Traced().of(refused)
    assert len(spans) == 2
    for span in spans:
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "the push was refused: unauthorized: access denied"
        assert (span.attributes or {})["error.type"] == "PushRejected"
    assert (spans[0].attributes or {})["ollama_push.outcome"] == "failed"


def test_a_cancelled_push_is_no_error() -> None:
    push, attempt = Traced().of(cancelled)
    assert (push.attributes or {})["ollama_push.outcome"] == "cancelled"
    assert push.status.status_code is attempt.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("story", ELEVEN_PUSHES)
def test_no_span_outlives_its_push(story: Callable[[Hook], None]) -> None:
    traced = Traced()
    ended = [_id_of(span) for span in traced.of(story)]
    assert ended == traced.begun.ids
    assert len(ended) > 1


def test_a_push_is_a_child_of_the_span_that_is_current_where_it_begins() -> None:
    traced = Traced()
    with traced.provider.get_tracer("caller").start_as_current_span("deploy"):
        retried(traced.hook)
    deploy, push, _first, _second = traced.spans
    assert _parent_of(push) == _id_of(deploy)


def test_each_attempt_sends_its_own_context_to_the_server() -> None:
    traced = Traced()
    with (
        ScriptedServer(
            lines_answer([_TICK % 5], end=False), lines_answer([_TICK % 9, b'{"status":"success"}'])
        ) as server,
        closing(PushClient(server.url, hooks=[traced.hook], retry=_AT_ONCE)) as client,
    ):
        port = server.port
        client.push("myuser/my-llama")
        sent = [request.headers["traceparent"] for request in server.requests]
    push, first, second = traced.spans
    assert sent == [_traceparent(first), _traceparent(second)]
    assert sent[0] != sent[1]
    for span in (push, first, second):
        assert (span.attributes or {})["server.address"] == "127.0.0.1"
        assert (span.attributes or {})["server.port"] == port


def test_the_context_travels_with_async_pushes_too() -> None:
    traced = Traced()

    async def push(url: str) -> None:
        async with AsyncPushClient(url, hooks=[traced.hook], retry=_AT_ONCE) as client:
            await client.push("myuser/my-llama")

    with ScriptedServer(json_answer(b"{}", 503), lines_answer([b'{"status":"success"}'])) as server:
        asyncio.run(push(server.url))
        sent = [request.headers["traceparent"] for request in server.requests]
    _push, first, second = traced.spans
    assert sent == [_traceparent(first), _traceparent(second)]
    assert (first.attributes or {})["http.response.status_code"] == 503


def test_two_pushes_at_once_do_not_mix_their_spans() -> None:
    traced = Traced()
    script = lines_answer([_TICK % 9, b'{"status":"success"}'])
    with (
        ScriptedServer(script) as server,
        closing(PushClient(server.url, hooks=[traced.hook])) as client,
        client.stream("myuser/one") as one,
        client.stream("myuser/two") as two,
    ):
        for _ in zip(one, two, strict=True):
            pass
    pushes = {span.name: _id_of(span) for span in traced.spans if span.kind is SpanKind.INTERNAL}
    parents = {_parent_of(span) for span in traced.spans if span.kind is SpanKind.CLIENT}
    assert set(pushes) == {"push myuser/one:latest", "push myuser/two:latest"}
    assert parents == set(pushes.values())
    assert len({span.context.trace_id for span in traced.spans if span.context}) == 2
