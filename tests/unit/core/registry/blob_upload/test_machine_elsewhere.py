"""An upload that an earlier push left on another host than the registry's: out of reach, it holds nothing up."""

from __future__ import annotations

import pytest
from tests.support.blobs import MIB
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import ORIGIN, DictMemory, Responder, response, responses
from tests.support.upload_machine import DATA, HELD, KEY, LOST, SIZE, Upload

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    OllamaPushError,
    PushInterrupted,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
)
from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import AddressProblem
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.effects import ForgetResumePoint
from ollama_push.core.registry.endpoints import origin_key
from ollama_push.core.registry.resume import ResumePoint
from ollama_push.core.responses import BufferedResponse, SendRequest
from ollama_push.core.retry import RetryPolicy

ELSEWHERE = "https://sessions.test:81"
THERE = ResumePoint(f"{ELSEWHERE}/7", 1000)
HERE = ResumePoint(f"{ORIGIN}/7", 1000)
TWICE = RetryPolicy(attempts=2, base=0)

FORBIDDEN = PushRejected("", RejectionReason.UNKNOWN, ForbiddenAddress("sessions.test", AddressProblem.LINK_LOCAL))
BUSY = response(503)

out_of_reach = pytest.mark.parametrize(
    "failure",
    [
        ConnectFailed(ELSEWHERE, ConnectCause.REFUSED),
        ConnectFailed(ELSEWHERE, ConnectCause.UNKNOWN_HOST),
        ConnectionLost(ELSEWHERE),
        FORBIDDEN,
        BUSY,
    ],
    ids=["refused", "unknown host", "lost", "forbidden", "busy"],
)


def silent(url: str, failure: OllamaPushError | BufferedResponse, registry: MemoryRegistry) -> Responder:
    """Return *registry*, but that its session at *url* cannot be asked about."""

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.url != url:
            return registry(request, body)
        if isinstance(failure, BufferedResponse | TransportError):
            return failure
        raise failure  # as a transport does that refuses to go there

    return peer


@out_of_reach
def test_out_of_reach_on_another_host_it_is_begun_anew(failure: OllamaPushError | BufferedResponse) -> None:
    registry = MemoryRegistry()
    upload = Upload(silent(THERE.location, failure, registry), memory=DictMemory({KEY: THERE}), retry=TWICE)
    asked = upload.run()
    assert asked[asked.index("POST") :] == [
        "POST",
        f"PATCH 0+{MIB}",
        f"PATCH {MIB}+{MIB}",
        f"PUT {2 * MIB}+{SIZE - 2 * MIB}",
    ]
    assert set(asked[: asked.index("POST")]) == {"GET"}
    assert registry.blobs[HELD] == DATA
    assert upload.player.memory.kept == {}
    assert upload.upload.resumed_bytes == 0
    # Before the new session, or a push that ends now would leave the old one to the next.
    effects = upload.player.effects
    opened = next(each for each in upload.player.of(SendRequest) if each.request.method == "POST")
    assert effects.index(ForgetResumePoint(KEY)) < effects.index(opened)


@out_of_reach
def test_out_of_reach_on_the_registrys_own_host_it_is_kept(failure: OllamaPushError | BufferedResponse) -> None:
    upload = Upload(silent(HERE.location, failure, MemoryRegistry()), memory=DictMemory({KEY: HERE}), retry=TWICE)
    error = upload.fail()
    assert isinstance(error, ServerError) if isinstance(failure, BufferedResponse) else error is failure
    assert set(upload.methods) == {"GET"}
    assert upload.player.of(ForgetResumePoint) == []
    assert upload.player.memory.kept == {KEY: HERE}


@pytest.mark.parametrize("saved", [HERE, THERE], ids=["here", "elsewhere"])
def test_a_push_that_is_to_stop_meanwhile_stops_and_keeps_it(saved: ResumePoint) -> None:
    def peer(_request: HttpRequest, _body: bytes) -> ConnectionLost:
        upload.player.interrupted = True
        return ConnectionLost(ELSEWHERE)

    upload = Upload(peer, memory=DictMemory({KEY: saved}), retry=TWICE)
    assert isinstance(upload.fail(), PushInterrupted)
    assert upload.methods == ["GET"]
    assert upload.player.memory.kept == {KEY: saved}


def test_within_reach_on_another_host_it_goes_on_there() -> None:
    said = response(204, {"range": "0-1999", "location": THERE.location})
    upload = Upload(responses(said, response(507)), memory=DictMemory({KEY: THERE}))
    upload.fail()
    assert upload.methods == ["GET", f"PATCH 2000+{MIB}"]
    assert {request.url for request in upload.player.requests} == {THERE.location}
    assert upload.upload.resumed_bytes == 2000


LED_OFF = ["http://sessions.test/7", "https://127.1:81/7", "https://reg.test@169.254.169.254/7", "https://1\u3002b/7"]


@pytest.mark.parametrize("forbidden", LED_OFF)
@pytest.mark.parametrize("method", ["POST", "PATCH", "GET"])
def test_no_request_goes_where_the_registry_must_not_lead(method: str, forbidden: str) -> None:
    registry = MemoryRegistry()
    again = [LOST] if method == "GET" else []

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        given = registry(request, body)
        if request.method == "PATCH" and again:
            return again.pop()
        if request.method != method:
            return given
        assert isinstance(given, BufferedResponse)
        return BufferedResponse(given.status, {**given.headers, "location": forbidden}, b"")

    upload = Upload(peer)
    error = upload.fail()
    assert isinstance(error, PushRejected)
    assert isinstance(error.facts, ForbiddenAddress)
    assert upload.methods[-1].split()[0] == method, "nothing is sent after it was named"
    assert {origin_key(request.url) for request in upload.player.requests} == {origin_key(ORIGIN)}


@pytest.mark.parametrize("forbidden", LED_OFF)
def test_an_upload_that_was_kept_where_the_registry_must_not_lead_is_begun_again(forbidden: str) -> None:
    registry = MemoryRegistry()
    upload = Upload(registry, memory=DictMemory({KEY: ResumePoint(forbidden, 1000)}))
    assert upload.run()[0] == "POST"
    assert registry.blobs[HELD] == DATA
    assert {origin_key(request.url) for request in upload.player.requests} == {origin_key(ORIGIN)}
