"""The story of a push in a log: short, with its facts as fields, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from tests.support.observation_sequences import (
    DIRECT,
    ELEVEN_PUSHES,
    cancelled,
    direct,
    refused,
    retried,
    rolled_back,
    uploaded,
)
from tests.support.push_run import Driven, tick

from ollama_push import PushClient
from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import OllamaPushError, PushInterrupted
from ollama_push.core.observations import PauseReason, PushContext, PushFinished, PushOutcome, RequestPaused
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.recordings import Recording
from ollama_push.testing.server import ScriptedServer, Step, chunk, head, lines_answer

_SLOW: Final = Recording.load(Path(__file__).parents[2] / "data" / "recordings" / "success_slow.json")
_BUILT_IN: Final = frozenset(vars(logging.makeLogRecord({})))
_PRESIGNED: Final = "https://store.example/blob?X-Amz-Credential=HUSH1&X-Amz-Signature=HUSH2"
_DOZEN: Final = 12


class Log(logging.Handler):
    """A logger of its own and everything that was written to it."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logger = logging.Logger("story", level)  # noqa: LOG001 - one per test, not one per process
        self.logger.addHandler(self)
        self.hook = LogHook(self.logger)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Level and text of each record."""
        return [(record.levelname, record.getMessage()) for record in self.records]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _BUILT_IN and name != "message"}


def _push_slow(log: Log) -> int:
    """Push as recorded, a tick a read as far as the network allows; return how many ticks there were."""
    ticks = 0
    with (
        ScriptedServer([data for _seconds, data in _SLOW.received]) as server,
        closing(PushClient(server.url, hooks=[log.hook])) as client,
        client.stream("myuser/my-llama") as events,
    ):
        for _ in events:
            ticks += 1
    return ticks


def test_a_wait_for_a_registry_is_told_to_those_who_look_closely() -> None:
    log = Log()
    log.hook(RequestPaused(PushContext("m", "https://r"), 31.0, PauseReason.BREAKER, 29.96))
    assert log.lines == [("DEBUG", "held back for 30.0 s (breaker)")]
    fields = _fields(log.records[0])
    assert (fields["push_pause"], fields["push_paused_seconds"]) == ("breaker", 29.96)


def test_a_push_of_a_hundred_ticks_is_told_in_a_dozen_lines() -> None:
    log = Log(logging.INFO)
    assert _push_slow(log) > 100
    assert 5 < len(log.records) <= _DOZEN
    assert {record.levelname for record in log.records} == {"INFO"}


def test_each_layer_is_told_once_and_with_its_size() -> None:
    log = Log()
    _push_slow(log)
    layers = Counter(
        (record.__dict__["push_digest"][:19], record.__dict__["push_total_bytes"])
        for record in log.records
        if hasattr(record, "push_digest")
    )
    assert layers == {
        ("sha256:49a7f1752a33", 40_000_000): 1,
        ("sha256:ce0aabfa936f", 21): 1,
        ("sha256:87c16cb154b8", 1200): 1,
        ("sha256:9c09f58b2c3f", 20): 1,
        ("sha256:a8de60b87fa3", 503): 1,
    }


def test_a_push_is_told_from_start_to_outcome() -> None:
    log = Log()
    uploaded(log.hook)
    assert log.lines == [
        ("INFO", "pushing myuser/my-llama:latest to http://h:1"),
        ("DEBUG", "attempt 1 started"),
        ("INFO", "retrieving manifest"),
        ("INFO", "layer sha256:a is complete (100 bytes)"),
        ("INFO", "layer sha256:b is complete (40 bytes)"),
        ("INFO", "pushed myuser/my-llama:latest, 140 bytes in 2.0 s"),
    ]


def test_what_is_repeated_is_told_once() -> None:
    log = Log(logging.INFO)
    push = Driven(hooks=[log.hook])
    push.begin()
    manifest = b'{"status":"pushing manifest"}\n'
    push.feed(tick(100) + tick(40, 40, "sha256:b") + tick(100) + manifest + manifest)
    assert [text for _level, text in log.lines[1:]] == [
        "layer sha256:a is complete (100 bytes)",
        "layer sha256:b is complete (40 bytes)",
        "pushing manifest",
    ]


def test_an_attempt_that_is_tried_again_is_a_warning() -> None:
    log = Log(logging.WARNING)
    retried(log.hook)
    (record,) = log.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("attempt 1 failed: ")
    assert record.getMessage().endswith("; retrying in 1.0 s")
    assert _fields(record) == {
        "push_model": "myuser/my-llama:latest",
        "push_target": "http://h:1",
        "push_elapsed_seconds": 2.0,
        "push_attempt": 1,
        "push_retry_in_seconds": 1.0,
        "push_error": "ConnectionLost",
        "push_reason": None,
    }


def test_a_push_that_failed_is_an_error_and_nothing_else_is() -> None:
    log = Log(logging.WARNING)
    refused(log.hook)
    (record,) = log.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == "push failed: the push was refused: unauthorized: access denied"
    facts = _fields(record)
    assert (facts["push_outcome"], facts["push_error"]) == ("failed", "PushRejected")
    assert facts["push_reason"]


def test_a_cancelled_push_is_a_warning() -> None:
    log = Log(logging.WARNING)
    cancelled(log.hook)
    assert log.lines == [("WARNING", "push cancelled after 0.8 s")]


def test_a_direct_push_is_told_with_its_size_and_what_it_moved() -> None:
    log = Log(logging.INFO)
    direct(log.hook)
    lost = "the connection to http://r:5000 broke before the response was complete"
    assert log.lines == [
        ("INFO", "pushing r:5000/myuser/my-llama:latest to http://r:5000"),
        ("INFO", "100 bytes in total"),
        ("INFO", f"layer sha256:{'a' * 64} is complete (40 bytes)"),
        (
            "WARNING",
            f"a request failed: {lost}; retrying in 2.0 s",
        ),
        ("INFO", f"layer sha256:{'b' * 64} is complete (60 bytes)"),
        ("INFO", "pushed r:5000/myuser/my-llama:latest, 100 bytes in 5.0 s: 50 sent, 40 already there, 10 resumed"),
    ]
    facts = _fields(log.records[-1])
    assert (facts["push_sent_bytes"], facts["push_skipped_bytes"], facts["push_resumed_bytes"]) == (50, 40, 10)
    assert facts["push_verified"] is True
    assert facts["push_manifest_digest"].startswith("sha256:")


def test_a_push_of_unknown_size_is_told_without_a_size() -> None:
    log = Log(logging.INFO)
    receipt = PushReceipt("a/b:latest", (), None, 1, 0.5)
    log.hook(PushFinished(PushContext("a/b:latest", "http://h:1"), 0.5, PushOutcome.SUCCEEDED, receipt))
    assert log.lines == [("INFO", "pushed a/b:latest in 0.5 s")]
    assert _fields(log.records[0])["push_total_bytes"] is None


def test_a_push_that_was_stopped_on_request_says_what_is_kept() -> None:
    log = Log(logging.WARNING)
    error = PushInterrupted(40, 100)
    log.hook(PushFinished(DIRECT, 1.0, PushOutcome.CANCELLED, error=error))
    ((level, text),) = log.lines
    assert level == "WARNING"
    assert text == f"push ended: {error}"


def test_a_rollback_is_told_to_those_who_debug() -> None:
    log = Log()
    rolled_back(log.hook)
    (record,) = [record for record in log.records if hasattr(record, "push_rolled_back_bytes")]
    assert record.levelname == "DEBUG"
    assert record.getMessage() == "layer sha256:a rolled back by 40 bytes"
    assert record.__dict__["push_rolled_back_bytes"] == 40


def test_every_field_is_prefixed_and_three_are_always_there() -> None:
    log = Log()
    for story in ELEVEN_PUSHES:
        story(log.hook)
    assert len(log.records) > 40
    for record in log.records:
        fields = _fields(record)
        assert fields.keys() >= {"push_model", "push_target", "push_elapsed_seconds"}
        assert all(name.startswith("push_") for name in fields)


@pytest.mark.parametrize(
    "script",
    [
        lines_answer([b'{"error":"PUT %s: 500"}' % _PRESIGNED.encode()]),
        lines_answer([b'{"status":"uploading to %s"}' % _PRESIGNED.encode(), b'{"status":"success"}']),
        lines_answer([b'{"status":"p","digest":"%s","total":1,"completed":1}' % _PRESIGNED.encode()]),
        lines_answer(
            [b'{"status":"p","digest":"%s","total":2,"completed":%d}' % (_PRESIGNED.encode(), n) for n in (2, 1)]
        ),
        lines_answer([b"no JSON but %s" % _PRESIGNED.encode()]),
        lines_answer([b'{"status":"at %s"}' % _PRESIGNED.encode()]),
        [
            head(500, {"Transfer-Encoding": "chunked", "Connection": "close"}),
            chunk(b'{"error":"Authorization: Bearer HUSHHUSHHUSH"}') + chunk(b""),
        ],
    ],
    ids=["refusal", "status", "digest", "rollback", "malformed", "truncated", "server error"],
)
def test_no_record_holds_a_secret(script: list[Step]) -> None:
    log = Log()
    with (
        ScriptedServer(script) as server,
        closing(
            PushClient(
                server.url,
                hooks=[log.hook],
                retry=RetryPolicy(attempts=2, base=0),
                headers={"Authorization": "Bearer HUSHTOKEN"},
            )
        ) as client,
        client.stream("myuser/my-llama") as events,
    ):
        try:
            for _ in events:
                pass
        except OllamaPushError:
            pass
    assert len(log.records) > 2
    for record in log.records:
        assert "HUSH" not in record.getMessage()
        assert "HUSH" not in repr(vars(record))


def test_a_peer_cannot_forge_a_line() -> None:
    log = Log()
    push = Driven(hooks=[log.hook])
    push.begin()
    push.feed(b'{"status":"a\\r\\nERROR forged \\u001b[2J"}\n{"status":"p","digest":"x\\ny"}\n')
    assert log.lines[-2:] == [("INFO", "a ERROR forged ?[2J"), ("INFO", "layer x y is complete (0 bytes)")]


def test_two_pushes_at_once_are_told_apart_by_their_fields() -> None:
    log = Log(logging.INFO)
    script = lines_answer([b'{"status":"retrieving manifest"}', b'{"status":"success"}'])
    with (
        ScriptedServer(script) as server,
        closing(PushClient(server.url, hooks=[log.hook])) as client,
        client.stream("myuser/one") as one,
        client.stream("myuser/two") as two,
    ):
        for _ in zip(one, two, strict=True):
            pass
    told = Counter(record.__dict__["push_model"] for record in log.records)
    assert told == {"myuser/one:latest": 3, "myuser/two:latest": 3}


def test_a_level_that_is_off_costs_no_record() -> None:
    log = Log(logging.CRITICAL)
    refused(log.hook)
    assert log.records == []


def test_the_logger_is_that_of_the_package_unless_given() -> None:
    assert LogHook().logger is logging.getLogger("ollama_push")


def test_structlog_gets_the_fields_through_its_bridge() -> None:
    log = Log(logging.INFO)
    written = io.StringIO()
    bridge = logging.StreamHandler(written)
    bridge.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    log.logger.addHandler(bridge)
    uploaded(log.hook)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert len(lines) == len(log.records) == 5
    assert lines[-1] == {
        "event": "pushed myuser/my-llama:latest, 140 bytes in 2.0 s",
        "level": "info",
        "push_model": "myuser/my-llama:latest",
        "push_target": "http://h:1",
        "push_elapsed_seconds": 2.0,
        "push_outcome": "succeeded",
        "push_total_bytes": 140,
    }
