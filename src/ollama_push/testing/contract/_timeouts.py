"""T10: how long a silence of the server may last."""

from __future__ import annotations

import math
from typing import Final

import attrs

from ollama_push.core.errors import TransportTimeout
from ollama_push.testing.answers import chunk
from ollama_push.testing.contract._clauses import (
    CHUNKED,
    ClauseList,
    Rig,
    ask,
    expect,
    expect_cause,
    expect_disconnect,
    fetch,
    plain,
    raised_by,
)
from ollama_push.testing.server import ScriptedServer
from ollama_push.testing.steps import Hold, Pause, Step

__all__ = ["TIMEOUT_CLAUSES"]

TIMEOUT_CLAUSES: Final = ClauseList()
_clause = TIMEOUT_CLAUSES.add

_SHORT: Final = 0.15


def _expect_timeout(rig: Rig, script: list[Step], default: float, own: float | None = None) -> None:
    with ScriptedServer(script) as server, rig.transport(default) as transport:
        request = attrs.evolve(ask(server), read_timeout=own)
        error = raised_by(TransportTimeout, lambda: fetch(transport, request))
        expect_cause(error)
        expect_disconnect(server, rig)


@_clause("T10", "before the head", "A server that does not answer is TransportTimeout.")
def _times_out_before_the_head(rig: Rig) -> None:
    _expect_timeout(rig, [Hold(rig.patience), plain(b"late")], _SHORT)


@_clause("T10", "inside the body", "A body that falls silent is TransportTimeout.")
def _times_out_inside_the_body(rig: Rig) -> None:
    _expect_timeout(rig, [CHUNKED, chunk(b"first\n"), Hold(rig.patience), chunk(b"")], _SHORT)


@_clause("T10", "of the request", "The read timeout of a request goes before the transport's own.")
def _prefers_the_timeout_of_the_request(rig: Rig) -> None:
    long = 10 * rig.patience
    _expect_timeout(rig, [Hold(rig.patience), plain(b"late")], long, _SHORT)
    _expect_timeout(rig, [CHUNKED, chunk(b"first\n"), Hold(rig.patience), chunk(b"")], long, _SHORT)


@_clause("T10", "without a limit", "A request with an infinite read timeout waits for its answer.")
def _waits_without_a_limit(rig: Rig) -> None:
    pause = Pause(3 * _SHORT)
    with ScriptedServer([pause, CHUNKED, pause, chunk(b"late") + chunk(b"")]) as server, rig.transport(_SHORT) as t:
        body = fetch(t, attrs.evolve(ask(server), read_timeout=math.inf)).body
    expect(body == b"late", f"the response was handed over as {body!r}")


@_clause("T10", "not in total", "An answer may take longer than the read timeout when no silence does.")
def _limits_no_total_time(rig: Rig) -> None:
    # Each silence is a fifth of the limit, and all eight together are more than one and a half times the limit.
    limit = 4 * _SHORT
    ticks = [step for _ in range(8) for step in (Pause(limit / 5), chunk(b"tick\n"))]
    with ScriptedServer([CHUNKED, *ticks, chunk(b"")]) as server, rig.transport(limit) as transport:
        body = fetch(transport, ask(server)).body
    expect(body == b"tick\n" * 8, f"{body.count(b'tick')} of 8 ticks were handed over")
