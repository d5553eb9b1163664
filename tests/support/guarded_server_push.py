"""A whole push through a server; ``guarded_core`` runs this where everything impure raises."""

from __future__ import annotations

from collections.abc import Callable

from ollama_push.core import facts, units
from ollama_push.core.errors import ConnectionLost, OllamaPushError
from ollama_push.core.hooks import HookSet
from ollama_push.core.names import ModelName
from ollama_push.core.observations import PushContext
from ollama_push.core.progress import PushProgress
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server import address as hosts
from ollama_push.core.server import reasons
from ollama_push.core.server.check import Readiness, check_flow
from ollama_push.core.server.request import PushRequest
from ollama_push.core.server.run import PushRun

_NDJSON = {"content-type": "application/x-ndjson"}
_LAYER = b'{"status":"p","digest":"sha256:a","total":100,"completed":%d}\n'
_DATES = {"retry-after": "Wed, 21 Oct 2015 07:29:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}


def _run(seen: list[object], clock: Callable[[], float]) -> PushRun:
    context = PushContext("a/b:latest", hosts.base_url("localhost"))
    return PushRun(
        PushRequest("a/b").to_http(context.target, {}, 60.0),
        context=context,
        stream=True,
        retry=RetryPolicy(attempts=2),
        stall_timeout=900.0,
        hooks=HookSet([seen.append], context, lambda _hook, _exc: None),
        clock=clock,
        random=lambda: 0.5,
        transport="None",
    )


def _push_twice() -> None:
    seconds = iter(range(1000))
    seen: list[object] = []
    run, progress = _run(seen, lambda: float(next(seconds))), PushProgress(100)
    run.begin_attempt()
    run.receive_head(200, _NDJSON)
    for event in run.receive_data(_LAYER % 60 + _LAYER % 40):
        progress.receive_event(event, 1.0)
    assert run.attempt_failed(ConnectionLost("http://h")) == 0.75
    run.begin_attempt()
    run.receive_head(200, _NDJSON)
    for event in run.receive_data(_LAYER % 100 + b'{"status":"success"}\n'):
        progress.receive_event(event, 2.0)
    assert list(run.receive_eof()) == []
    run.close()
    assert run.result().attempts == 2
    assert progress.snapshot(3.0).fraction == 1.0
    assert len(seen) == 10


def _fail(status: int, headers: dict[str, str], body: bytes) -> None:
    run = _run([], lambda: 0.0)
    for _ in range(2):
        run.begin_attempt()
        run.receive_head(status, headers)
        try:
            list(run.receive_data(body))
            list(run.receive_eof())
        except OllamaPushError as exc:
            text, error = f"{exc} {exc!r}", exc
        assert text
        try:
            run.attempt_failed(error)
        except OllamaPushError as verdict:
            if verdict is error:
                return
    raise AssertionError("two attempts and no verdict")


def _check() -> Readiness:
    flow = check_flow("a/b", "http://h", {})
    next(flow)
    flow.send(BufferedResponse(200, {}, b'{"version":"1"}'))
    flow.send(BufferedResponse(200, {}, b'{"models":[{"name":"a/c"}]}'))
    try:
        flow.send(BufferedResponse(401, {}, b'{"error":"x","signin_url":"y"}'))
    except StopIteration as stop:
        response = stop.value
    assert isinstance(response, Readiness)
    return response


_push_twice()
_fail(200, {}, b"nope\n")
_fail(200, {}, b'{"status":"a"}\n')
_fail(200, {"content-type": "text/html"}, b"<title>x</title>")
_fail(503, _DATES, b"{}")
_fail(200, {}, b'{"error":"unauthorized https://u:p@h/?token=x"}\n')
assert len(_check().problems) == 2
assert ModelName.parse("h.x/a/b").oci_problem() is None
assert reasons.reason_for("x") is facts.RejectionReason.UNKNOWN
assert units.bytes_text(1) + units.seconds_text(1) == "1 B1.0 s"
