"""Questions to a registry: what is sent along, what is asked again, and when enough is enough."""

from __future__ import annotations

import math
from typing import Final

import pytest
from tests.support.scripted_flow import HOST, ORIGIN, FlowPlayer, refuse, response, responses

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    Peer,
    PushInterrupted,
    PushRejected,
    ServerError,
    TransportTimeout,
)
from ollama_push.core.facts import Operation, RejectionReason
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.effects import ReportRetry
from ollama_push.core.responses import BlobSpan, BufferedResponse, NotAsked, OptionalRequest, SendRequest
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.version import USER_AGENT

URL = f"{ORIGIN}/v2/"
LOST = ConnectionLost(ORIGIN)


def _ask(player: FlowPlayer) -> BufferedResponse:
    return player.play(player.exchange.ask(Operation.LOG_IN, "GET", URL, {200, 404}))


def test_every_request_says_who_we_are_and_carries_the_trace() -> None:
    player = FlowPlayer(responses(response(200)))
    player.exchange.headers["traceparent"] = "00-1"
    player.play(player.exchange.once("GET", URL, {"Accept": "x"}))
    assert player.requests[0].headers == {"User-Agent": USER_AGENT, "traceparent": "00-1", "Accept": "x"}


@pytest.mark.parametrize(("method", "seconds"), [("PUT", 900.0), ("PATCH", 900.0), ("GET", 60.0), ("POST", 60.0)])
def test_a_registry_may_think_longer_about_a_body(method: str, seconds: float) -> None:
    player = FlowPlayer(responses(response(200)))
    player.play(player.exchange.once(method, URL))
    assert player.requests[0].read_timeout == seconds < math.inf


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_no_request_may_take_longer_than_a_body(method: str) -> None:
    player = FlowPlayer(responses(response(200)), body_timeout=3.0)
    player.play(player.exchange.once(method, URL))
    assert player.requests[0].read_timeout == 3.0


def test_a_span_goes_as_the_body() -> None:
    player = FlowPlayer(lambda _request, body: response(200, {}, body), blobs=[("sha256:a", b"0123456789")])
    got = player.play(player.exchange.once("PATCH", URL, span=BlobSpan("sha256:a", 2, 3)))
    assert got.body == b"234"
    assert player.of(SendRequest)[0].span == BlobSpan("sha256:a", 2, 3)


def test_any_answer_is_returned_once() -> None:
    player = FlowPlayer(responses(response(503)))
    assert player.play(player.exchange.once("GET", URL)).status == 503


def test_a_registry_that_is_not_there_is_named_as_one() -> None:
    player = FlowPlayer(responses(ConnectFailed(ORIGIN, ConnectCause.REFUSED)))
    with pytest.raises(ConnectFailed) as caught:
        _ask(player)
    assert caught.value.peer is Peer.REGISTRY
    assert caught.value.attempts == 1
    assert player.waits == []


def test_a_realm_that_is_not_there_is_no_ollama_server_either() -> None:
    challenge = response(401, {"www-authenticate": 'Bearer realm="https://auth.test/t"'})
    player = FlowPlayer(responses(challenge, ConnectFailed("https://auth.test", ConnectCause.REFUSED)))
    with pytest.raises(ConnectFailed) as caught:
        _ask(player)
    assert caught.value.peer is Peer.ELSEWHERE


def test_a_registry_that_was_there_is_asked_again() -> None:
    player = FlowPlayer(responses(response(404), ConnectFailed(ORIGIN, ConnectCause.REFUSED), response(200)))
    assert _ask(player).status == 404
    assert _ask(player).status == 200
    assert player.waits == [1.0]


@pytest.mark.parametrize("failure", [LOST, TransportTimeout(ORIGIN, "read", 60.0), response(503)], ids=repr)
def test_what_may_pass_is_asked_again_with_growing_waits(failure: BufferedResponse | ConnectionLost) -> None:
    player = FlowPlayer(responses(failure, failure, failure, response(200)))
    assert _ask(player).status == 200
    assert player.waits == [1.0, 2.0, 4.0]
    assert [retry.retry_in for retry in player.of(ReportRetry)] == player.waits


def test_enough_is_enough() -> None:
    player = FlowPlayer(responses(*[response(503)] * 4))
    with pytest.raises(ServerError, match="HTTP 503: asking") as caught:
        _ask(player)
    assert caught.value.attempts == 4
    assert len(player.requests) == 4


def test_a_registry_says_how_long_to_wait() -> None:
    player = FlowPlayer(responses(response(429, {"retry-after": "13"}), response(200)))
    assert _ask(player).status == 200
    assert player.waits == [13.0]


def test_nobody_waits_beyond_the_cap() -> None:
    for status in (429, 503):
        with pytest.raises(ServerError, match="asks to wait 61 s, and retry_after_cap is 60 s") as caught:
            _ask(FlowPlayer(responses(response(status, {"retry-after": "61"}))))
        assert (caught.value.attempts, caught.value.longest_wait) == (1, 60.0)


@pytest.mark.parametrize(
    "words",
    [
        b"<html><center>The plain HTTP request was sent to HTTPS port</center></html>",
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.</p>",
        b"Bad Request\nThis combination of host and port requires TLS.\n",
    ],
)
def test_plain_http_to_a_port_that_speaks_tls_is_told_as_that(words: bytes) -> None:
    player = FlowPlayer(responses(response(400, {}, words)), plain_http=True)
    with pytest.raises(ConnectFailed) as caught:
        player.play(player.exchange.ask(Operation.LOG_IN, "GET", f"http://{HOST}/v2/", [200]))
    assert (caught.value.cause, caught.value.peer) == (ConnectCause.WANTS_TLS, Peer.REGISTRY)
    assert str(caught.value) == f"the registry at http://{HOST} speaks TLS, not plain HTTP; leave out plain_http=True"
    with pytest.raises(PushRejected):
        _ask(FlowPlayer(responses(response(400, {}, words))))


def test_what_is_put_off_is_the_same_request_again_with_patience_of_its_own() -> None:
    player = FlowPlayer(responses(*[response(429)] * 9, response(200)))
    assert _ask(player).status == 200
    assert player.waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6])
    assert [retry.retry_in for retry in player.of(ReportRetry)] == player.waits
    assert len(set(player.asked)) == 1


@pytest.mark.parametrize(("attempts", "tries"), [(1, 1), (2, 4), (4, 10)])
def test_the_patience_for_what_is_put_off_has_an_end(attempts: int, tries: int) -> None:
    player = FlowPlayer(responses(*[response(429)] * tries), retry=RetryPolicy(attempts=attempts))
    with pytest.raises(ServerError, match="HTTP 429: asking") as caught:
        _ask(player)
    assert caught.value.attempts == len(player.requests) == tries
    assert caught.value.longest_wait is None


def test_a_failure_between_does_not_use_up_that_patience() -> None:
    script = [response(429), response(503), response(429), response(503), response(429), response(200)]
    player = FlowPlayer(responses(*script))
    assert _ask(player).status == 200


def test_a_realm_that_puts_off_is_asked_again() -> None:
    challenge = response(401, {"www-authenticate": 'Bearer realm="https://auth.test/t"'})
    player = FlowPlayer(
        responses(challenge, response(429), challenge, response(200, {}, b'{"token":"t"}'), response(200))
    )
    assert _ask(player).status == 200
    assert player.waits[0] == pytest.approx(0.1)


def test_the_failure_of_a_realm_is_told_as_it_is() -> None:
    challenge = response(401, {"www-authenticate": 'Bearer realm="https://auth.test/t"'})
    player = FlowPlayer(responses(challenge, response(503)), retry=RetryPolicy(attempts=1))
    with pytest.raises(ServerError) as caught:
        _ask(player)
    assert caught.value.status == 503


def test_a_registry_that_is_full_is_not_asked_again_whatever_its_status() -> None:
    with pytest.raises(PushRejected) as caught:
        _ask(FlowPlayer(responses(refuse(429, "UNKNOWN", "no space left on device"))))
    assert caught.value.reason is RejectionReason.REGISTRY_FULL


@pytest.mark.parametrize(
    ("method", "span", "operation"),
    [
        ("POST", None, Operation.OPEN_UPLOAD),
        ("PATCH", BlobSpan("sha256:a", 5, 1), Operation.SEND_PART),
        ("PUT", BlobSpan("sha256:a", 0, 1), Operation.SEND_BLOB),
        ("PUT", BlobSpan("sha256:a", 5, 1), Operation.COMMIT_BLOB),
        ("GET", None, Operation.UPLOAD_STATUS),
    ],
)
def test_the_error_says_what_was_put_off(method: str, span: BlobSpan | None, operation: Operation) -> None:
    player = FlowPlayer(responses(response(429)), blobs=[("sha256:a", b"123456")], retry=RetryPolicy(attempts=1))
    with pytest.raises(ServerError) as caught:
        player.play(player.exchange.once(method, f"{ORIGIN}/x", span=span))
    assert caught.value.operation is operation
    assert caught.value.request is not None
    assert caught.value.request.subject == (span.digest if span else "")


def test_a_push_that_is_to_stop_does_not_wait_for_its_turn() -> None:
    player = FlowPlayer(responses(response(429)))
    player.interrupted = True
    with pytest.raises(PushInterrupted):
        _ask(player)
    assert len(player.requests) == 1


def test_a_no_is_not_asked_again() -> None:
    player = FlowPlayer(responses(refuse(403, "DENIED", "not you")))
    with pytest.raises(PushRejected, match="asking the registry: HTTP 403: DENIED: not you"):
        _ask(player)


def test_a_push_that_is_to_stop_does_not_ask_again() -> None:
    player = FlowPlayer(responses(LOST))
    player.interrupted = True
    with pytest.raises(PushInterrupted):
        _ask(player)
    assert player.waits == [1.0]


def test_going_on_is_required_only_until_told_to_stop() -> None:
    player = FlowPlayer()
    player.exchange.raise_if_interrupted()
    player.interrupted = True
    with pytest.raises(PushInterrupted):
        player.exchange.raise_if_interrupted()


def test_it_is_known_whether_the_registry_asked_who_we_are() -> None:
    player = FlowPlayer(
        responses(response(401, {"www-authenticate": "Basic"}), response(200)), credentials={HOST: Login("a", "b")}
    )
    assert not player.exchange.authorized
    _ask(player)
    assert player.exchange.authorized


def test_progress_makes_patience_forget() -> None:
    patience = FlowPlayer(retry=RetryPolicy(attempts=2)).exchange.retry_budget()
    assert patience.after(LOST) == 1.0
    patience.progressed()
    assert patience.after_setback(LOST) == 1.0
    with pytest.raises(ConnectionLost) as caught:
        patience.after_setback(LOST)
    assert caught.value.attempts == 2


def test_neither_an_error_nor_a_retry_quotes_the_login_that_was_shown() -> None:
    echo = {"location": "ftp://elsewhere.test/login/open-sesame"}
    challenge = response(401, {"www-authenticate": 'Basic realm="x"'})
    player = FlowPlayer(
        responses(challenge, response(503, {}, b"busy: open-sesame"), response(302, echo)),
        credentials={HOST: Login("me", "open-sesame")},
    )
    with pytest.raises(PushRejected) as caught:
        player.play(player.exchange.without_secrets(player.exchange.ask(Operation.LOG_IN, "GET", URL, {200})))
    [retried] = player.of(ReportRetry)
    assert "open-sesame" not in f"{caught.value!r} {caught.value} {retried!r} {retried.error}"
    assert "/login/<hidden>" in str(caught.value)


def test_what_a_flow_returns_stays_as_it_is() -> None:
    player = FlowPlayer(responses(response(200, {}, b"x")))
    assert player.play(player.exchange.without_secrets(player.exchange.once("GET", URL))).body == b"x"


def test_a_signed_url_that_is_not_there_is_neither_a_server_nor_the_registry() -> None:
    away = ConnectFailed("https://storage.test", ConnectCause.REFUSED)
    player = FlowPlayer(responses(away))
    with pytest.raises(ConnectFailed) as caught:
        player.play(player.exchange.once_signed("PUT", "https://storage.test/x?sig=1", {}, None))
    assert caught.value.peer is Peer.ELSEWHERE


def test_a_signed_url_is_asked_as_ourselves_and_with_the_patience_of_a_body() -> None:
    player = FlowPlayer(responses(response(200)), body_timeout=77.0)
    player.play(player.exchange.once_signed("PUT", "https://storage.test/x?sig=1", {"X": "y"}, None))
    (request,) = player.requests
    assert request.headers == {"User-Agent": USER_AGENT, "X": "y"}
    assert request.read_timeout == 77.0


_THING: Final = f"{ORIGIN}/v2/me/llama/manifests/v1"


def _question(player: FlowPlayer) -> BufferedResponse:
    return player.play(player.exchange.once("HEAD", _THING, {"X": "y"}, kind=OptionalRequest))


def test_a_question_to_an_ill_registry_is_put_off_until_its_root_responds() -> None:
    said = responses(NotAsked(), response(502), NotAsked(), response(401), response(404))
    player = FlowPlayer(said, credentials={HOST: Login("me", "pw")})
    assert _question(player).status == 404
    assert player.asked == ["HEAD /v2/me/llama/manifests/v1", "GET /v2/"] * 2 + ["HEAD /v2/me/llama/manifests/v1"]
    knocks = player.requests[1::2]
    assert [type(request) for request in player.requests[::2]] == [OptionalRequest] * 3
    assert not any(isinstance(knock, OptionalRequest) for knock in knocks), "these wait"
    assert [knock.headers for knock in knocks] == [{"User-Agent": USER_AGENT}] * 2
    assert not player.exchange.authorized, "the root is asked without a login"
    assert player.exchange.refusal == "", "and is no read of the model"


def test_a_root_that_cannot_be_reached_or_leads_astray_ends_no_push() -> None:
    astray = response(307, {"location": "http://10.0.0.1/v2/"})
    player = FlowPlayer(responses(NotAsked(), LOST, NotAsked(), astray, response(200)))
    assert _question(player).status == 200


def test_a_question_is_not_put_off_beyond_an_interruption() -> None:
    player = FlowPlayer(responses(NotAsked()))
    player.interrupted = True
    with pytest.raises(PushInterrupted):
        _question(player)
