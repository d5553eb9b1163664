"""Attempts over real connections: what is tried again, what never is, and what the receipt says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from tests.support.server_push import Push, Told, push, push_awaited

from ollama_push.core.errors import ConnectFailed, OllamaPushError, PushRejected, ServerError
from ollama_push.core.observations import AttemptFailed, Observation
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.server import Hold, Reset, Script, ScriptedServer, chunk, head, json_answer, lines_answer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

LAYER: Final = b'{"status":"pushing a","digest":"sha256:a","total":9,"completed":%d}'
OK: Final = lines_answer([LAYER % 4, LAYER % 9, b'{"status":"success"}'])
AT_ONCE: Final = RetryPolicy(attempts=4, base=0)
CUT: Final[Script] = lines_answer([LAYER % 4], end=False)
TICK: Final = chunk(LAYER % 4 + b"\n")
STALLED: Final[Script] = [head(headers={"Transfer-Encoding": "chunked", "Connection": "close"}), TICK, TICK, Hold()]

Pusher = Callable[[Push], Told]


@pytest.fixture(params=["sync", "async"])
def pusher(request: pytest.FixtureRequest) -> Pusher:
    if request.param == "sync":
        return lambda asked: push(asked, Urllib3Transport())
    return lambda asked: push_awaited(asked, AiohttpTransport)


@pytest.mark.parametrize(
    ("failures", "attempts"),
    [
        ([CUT], 2),
        ([[Reset()]], 2),
        ([CUT, lines_answer([LAYER % 4]), CUT], 4),
        ([json_answer(b"", 503, {"Retry-After": "0"})], 2),
        ([json_answer(b'{"error":"context canceled"}', 500)], 2),
        ([lines_answer([LAYER % 4, b'{"error":"max retries exceeded: EOF"}'])], 2),
        ([STALLED], 2),
    ],
    ids=["cut", "reset", "three in a row", "503", "500", "the upload broke", "silence"],
)
def test_what_may_pass_is_tried_again(failures: list[Script], attempts: int, pusher: Pusher) -> None:
    seen: list[Observation] = []
    with ScriptedServer(*failures, OK) as server:
        told = pusher(Push(server.url, stall_timeout=0.3, retry=AT_ONCE, hooks=(seen.append,)))
        assert len(server.requests) == attempts
    assert told.receipt is not None
    assert told.receipt.attempts == attempts
    assert [one.attempt for one in seen if isinstance(one, AttemptFailed)] == list(range(1, attempts))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lines_answer([b'{"error":"unauthorized: access denied"}']), PushRejected),
        (lines_answer([b'{"error":"unqualified name: x"}']), PushRejected),
        (lines_answer([b'{"error":"nobody knows this text"}']), PushRejected),
        (lines_answer([b"nope"]), OllamaPushError),
        (json_answer(b'{"error":"model is required"}', 400), ServerError),
        (json_answer(b"", 503, {"Retry-After": "86400"}), ServerError),
    ],
    ids=["identity", "name", "unknown", "malformed", "400", "come back tomorrow"],
)
def test_what_cannot_pass_is_never_tried_again(answer: Script, kind: type[Any], pusher: Pusher) -> None:
    with ScriptedServer(answer, OK) as server:
        told = pusher(Push(server.url, retry=AT_ONCE))
        assert len(server.requests) == 1
    assert isinstance(told.error, kind)
    assert told.error.attempts == 1


def test_a_server_that_was_never_there_is_not_waited_for(pusher: Pusher) -> None:
    with ScriptedServer() as gone:
        url = gone.url
    told = pusher(Push(url, retry=RetryPolicy(attempts=4, base=60.0)))
    assert isinstance(told.error, ConnectFailed)
    assert told.error.attempts == 1
