"""What every error says, that it survives travelling, and that it keeps secrets."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Final

import attrs
import pytest

from ollama_push.core import errors
from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidModelName,
    InvalidSetting,
    LineTooLong,
    MachineMisuse,
    MalformedLine,
    OllamaPushError,
    Peer,
    ProtocolError,
    PushInterrupted,
    PushRejected,
    PushStalled,
    RejectionReason,
    ServerError,
    StreamTruncated,
    TransportError,
    TransportMisbehaved,
    TransportTimeout,
    UnexpectedContent,
    UsedAfterClose,
    VerificationFailed,
    VerificationProblem,
)
from ollama_push.core.events import LayerProgress
from ollama_push.core.facts import Advice, ModelMissing, Operation, RefusedRequest
from ollama_push.core.messages import shorten

_AT: Final = "http://127.0.0.1:11434"
_REGISTRY: Final = "https://registry.example.com"

ERRORS: Final[tuple[tuple[OllamaPushError, str], ...]] = (
    (InvalidModelName("x y", "spaces"), "'x y': spaces"),
    (InvalidSetting("stall_timeout", -1, "expected more"), "stall_timeout=-1: expected more"),
    (UsedAfterClose("PushClient"), "this PushClient is closed; build a new one"),
    (MachineMisuse("receive_head() called twice"), "receive_head() called twice"),
    (
        TransportMisbehaved("Mine", "KeyError('x')"),
        "Mine raised KeyError('x'); a transport may raise only TransportError kinds",
    ),
    (
        ConnectFailed(_AT, ConnectCause.REFUSED),
        f"nothing listens at {_AT}; start the Ollama server, or point OLLAMA_HOST at the right address",
    ),
    (
        ConnectFailed(_AT, ConnectCause.UNKNOWN_HOST, "no such name"),
        f"the host of {_AT} is unknown; check its spelling, OLLAMA_HOST and DNS (no such name)",
    ),
    (ConnectFailed(_AT, ConnectCause.UNREACHABLE), f"no route to {_AT}; check the network, a VPN or a firewall"),
    (
        ConnectFailed(_AT, ConnectCause.UNTRUSTED_CERTIFICATE),
        f"the certificate of {_AT} is not trusted; pass the CA that signed it with ca_file=, or SSL_CERT_FILE",
    ),
    (
        ConnectFailed(_AT, ConnectCause.CLIENT_CERTIFICATE),
        f"{_AT} wants a client certificate, or refused the one given; pass the right one with client_cert=",
    ),
    (
        ConnectFailed(_AT, ConnectCause.EXPIRED_CERTIFICATE),
        (
            f"the certificate of {_AT} has expired, or is not valid yet;"
            " it must be renewed there, if the clock of this machine is right"
        ),
    ),
    (
        ConnectFailed(_AT, ConnectCause.CERTIFICATE_OF_ANOTHER_HOST),
        f"the certificate of {_AT} is for another host; use a name that the certificate is for",
    ),
    (ConnectFailed(_AT, ConnectCause.NOT_TLS), f"{_AT} does not speak TLS; use http:// instead of https://"),
    (
        ConnectFailed(_AT, ConnectCause.NOT_TLS, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)"),
        f"{_AT} does not speak TLS; use http:// instead of https://",
    ),
    (ConnectFailed(_AT, ConnectCause.TLS), f"the TLS handshake with {_AT} failed"),
    (
        ConnectFailed(_AT, ConnectCause.PROXY),
        (
            f"the proxy in the way of {_AT} failed;"
            " check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or list the host in NO_PROXY"
        ),
    ),
    (ConnectFailed(_AT), f"cannot connect to {_AT}"),
    (
        ConnectFailed(_REGISTRY, ConnectCause.REFUSED, "", Peer.REGISTRY),
        f"nothing listens at {_REGISTRY}; is the registry running, and is the port in the name right?",
    ),
    (
        ConnectFailed(_REGISTRY, ConnectCause.UNKNOWN_HOST, "", Peer.REGISTRY),
        f"the host of {_REGISTRY} is unknown; check the spelling of the name, and DNS",
    ),
    (
        ConnectFailed(_REGISTRY, ConnectCause.NOT_TLS, "", Peer.REGISTRY),
        (f"the registry at {_REGISTRY} does not speak TLS; plain HTTP must be asked for with plain_http=True"),
    ),
    (
        ConnectFailed("http://h:1", ConnectCause.WANTS_TLS, "", Peer.REGISTRY),
        "the registry at http://h:1 speaks TLS, not plain HTTP; leave out plain_http=True",
    ),
    (
        ConnectFailed(_REGISTRY, ConnectCause.TLS, "[SSL: TLSV1_ALERT_X] alert x (_ssl.c:1000)", Peer.REGISTRY),
        (
            f"the TLS handshake with the registry at {_REGISTRY} failed; if it speaks plain HTTP, ask for that"
            " with plain_http=True (alert x)"
        ),
    ),
    (
        ConnectFailed(_REGISTRY, ConnectCause.UNREACHABLE, "", Peer.REGISTRY),
        f"no route to {_REGISTRY}; check the network, a VPN or a firewall",
    ),
    (
        ConnectFailed(_AT, ConnectCause.REFUSED, "", Peer.ELSEWHERE),
        (
            f"nothing listens at {_AT}, where the registry leads;"
            " the address that a registry names must be one that this machine reaches"
        ),
    ),
    (ConnectionLost(_AT), f"the connection to {_AT} broke before the response was complete"),
    (ConnectionLost(_AT, "reset"), f"the connection to {_AT} broke before the response was complete (reset)"),
    (
        ConnectionLost(_AT, "[SSL] record layer failure (_ssl.c:2580)"),
        f"the connection to {_AT} broke before the response was complete (record layer failure)",
    ),
    (
        TransportTimeout(_AT, "connect", 2.5),
        (
            f"no connection to {_AT} within 2.5 s;"
            " is the host up, its port right, and no firewall or VPN between? Nothing answers there"
        ),
    ),
    (TransportTimeout(_AT, "response", 60), f"{_AT} did not complete its response within 60 s"),
    (TransportTimeout(_AT, "read", 60), f"{_AT} was silent for 60 s (read)"),
    (ServerError(502), "the server responded HTTP 502"),
    (ServerError(500, "no space left"), "the server responded HTTP 500: no space left"),
    (
        ServerError(401, "unauthorized", "https://ollama.com/connect?key=abc"),
        "the server responded HTTP 401: unauthorized (sign in at https://ollama.com/connect?key=abc)",
    ),
    (PushRejected("unauthorized: access denied"), "the push was refused: unauthorized: access denied"),
    (PushRejected(""), "the push was refused: (the server gave no text)"),
    (PushRejected(facts=ModelMissing("a/b:latest", "/models")), "there is no model 'a/b:latest' in the store /models"),
    (MalformedLine("nope", "not JSON"), "malformed line 'nope': not JSON"),
    (LineTooLong(8_000_000, 8_000_001), "8000001 bytes without a newline; the limit is 8000000"),
    (
        UnexpectedContent(200, "text/html", "Welcome"),
        "HTTP 200 with text/html; is this an Ollama server, or a proxy? It says: 'Welcome'",
    ),
    (UnexpectedContent(204, ""), "HTTP 204 with no content type; is this an Ollama server, or a proxy?"),
    (
        StreamTruncated("pushing manifest"),
        "the response ended after 'pushing manifest' with neither success nor error; the push may not have happened",
    ),
    (
        StreamTruncated(),
        "the response ended before any status with neither success nor error; the push may not have happened",
    ),
    (PushStalled(900.0), "no bytes moved for 900 s although the server keeps responding"),
    (
        PushInterrupted(2_000_000, 5_000_000),
        "interrupted; the registry has 2.0 MB of 5.0 MB, push again to resume",
    ),
    (
        PushInterrupted(2_000_000, 5_000_000, 1_000_000),
        (
            "interrupted; the registry has 2.0 MB of 5.0 MB, push again to send the rest (1.0 MB more have arrived, but"
            " this registry cannot tell how far an upload is)"
        ),
    ),
    (
        VerificationFailed("sha256:ab", VerificationProblem.NO_BLOB),
        "verification failed for sha256:ab: the registry does not hold it",
    ),
)

_IDS: Final = [f"{type(error).__name__}-{number}" for number, (error, _text) in enumerate(ERRORS)]

# Each holds the word "hush" where a secret is.
SECRETS: Final = (
    "Put https://bucket.example.com/b?X-Amz-Algorithm=A&X-Amz-Signature=hush0123&x=1: EOF",
    "Authorization: Bearer hush0123456789",
    "dial https://user:hush@registry.example.com/v2/: refused",
    '{"username": "me", "password": "hush"}',
)

# How each error takes a peer's text.
QUOTING: Final[tuple[Callable[[str], OllamaPushError], ...]] = (
    lambda text: TransportMisbehaved("Mine", text),
    lambda text: ConnectFailed(text, ConnectCause.OTHER, text),
    lambda text: ConnectionLost(text, text),
    lambda text: TransportTimeout(text, "read", 1.0),
    lambda text: ServerError(500, text),
    PushRejected,
    lambda text: MalformedLine(text, "not JSON"),
    lambda text: UnexpectedContent(200, "text/html", text),
    StreamTruncated,
    lambda text: VerificationFailed("sha256:ab", VerificationProblem.NOT_A_MANIFEST, words=text),
)


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=_IDS)
def test_says(error: OllamaPushError, text: str) -> None:
    assert str(error) == text


def test_every_error_has_a_row() -> None:
    kinds = {value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)}
    concrete = {kind for kind in kinds if issubclass(kind, OllamaPushError)}
    assert {type(error) for error, _ in ERRORS} == concrete - {OllamaPushError, TransportError, ProtocolError}


def test_every_connect_cause_has_a_row() -> None:
    assert {error.cause for error, _ in ERRORS if isinstance(error, ConnectFailed)} == set(ConnectCause)


@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize(("error", "text"), ERRORS, ids=_IDS)
def test_survives_travelling(
    error: OllamaPushError, text: str, travel: Callable[[OllamaPushError], OllamaPushError]
) -> None:
    sent = copy.copy(error)
    sent.last_event, sent.attempts, sent.bytes_moved = LayerProgress("sha256:ab", 2, 1), 3, 4
    arrived = travel(sent)
    assert type(arrived) is type(error)
    assert (str(arrived), repr(arrived)) == (text, repr(error))
    assert [getattr(arrived, field.name) for field in attrs.fields(type(error))] == [
        getattr(sent, field.name) for field in attrs.fields(type(error))
    ]


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=_IDS)
def test_chains(error: OllamaPushError, text: str) -> None:
    cause = OSError(1, "cause")
    with pytest.raises(type(error)) as caught:
        raise copy.copy(error) from cause
    assert caught.value.__cause__ is cause
    assert str(caught.value) == text


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("quote", QUOTING, ids=[type(quote("")).__name__ for quote in QUOTING])
def test_shows_no_secret(quote: Callable[[str], OllamaPushError], secret: str) -> None:
    error = quote(secret)
    shown = f"{error} {error!r} {error.args}"
    assert "hush" not in shown
    assert "<hidden>" in shown


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (InvalidModelName, ValueError),
        (InvalidSetting, ValueError),
        (UsedAfterClose, RuntimeError),
        (MachineMisuse, RuntimeError),
        (TransportMisbehaved, RuntimeError),
        (TransportTimeout, TimeoutError),
        (PushStalled, TimeoutError),
    ],
)
def test_is_caught_where_callers_expect_it(kind: type[OllamaPushError], parent: type[Exception]) -> None:
    assert issubclass(kind, parent)
    assert issubclass(kind, OllamaPushError)


def test_a_fresh_error_knows_of_no_push() -> None:
    error = PushRejected("no")
    assert (error.last_event, error.attempts, error.bytes_moved) == (None, 0, 0)


def test_two_equal_looking_errors_are_two_errors() -> None:
    assert PushRejected("no") != PushRejected("no")


def test_an_error_line_holds_words_of_the_server_and_nothing_else() -> None:
    line = PushRejected("no", RejectionReason.TOO_LARGE)
    assert (line.peer, line.operation, line.status, line.codes, line.advice) == (
        Peer.SERVER,
        Operation.PUSH,
        None,
        (),
        None,
    )
    assert (line.message, line.reason) == ("no", RejectionReason.TOO_LARGE)
    assert PushRejected("unauthorized: access denied").reason is RejectionReason.UNKNOWN


def test_a_refused_request_is_known_as_facts() -> None:
    request = RefusedRequest(Operation.SEND_PART, 400, ("SIZE_INVALID",), "sha256:ab")
    for error in (PushRejected("no", facts=request), ServerError(400, "no", request=request)):
        assert (error.peer, error.operation, error.status) == (Peer.REGISTRY, Operation.SEND_PART, 400)
        assert (error.codes, error.words, error.advice) == (("SIZE_INVALID",), "no", None)


def test_what_this_side_finds_out_has_no_peer_and_no_operation() -> None:
    missing = PushRejected(facts=ModelMissing("a/b", "/models", twin="b"))
    assert (missing.peer, missing.operation, missing.advice) == (None, None, Advice.CHOOSE_SOURCE)
    server = ServerError(500, "no")
    assert (server.peer, server.operation, server.codes) == (Peer.SERVER, Operation.PUSH, ())


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ServerError(401, "no", "https://ollama.com/connect"), Advice.SIGN_IN),
        (ServerError(307, location="/x"), Advice.FINAL_ADDRESS),
        (ServerError(307, "moved", location="/x"), None),
        (ServerError(403), Advice.ALLOW_HOST),
        (ServerError(403, "no"), None),
        (ServerError(404), Advice.PUSH_DIRECTLY),
        (ServerError(405, "no"), Advice.PUSH_DIRECTLY),
        (ServerError(404, "404 page not found", path="/v1"), Advice.DROP_PATH),
        (ServerError(404, "file does not exist", reason=RejectionReason.REPOSITORY_NOT_FOUND), None),
        (ServerError(404, request=RefusedRequest(Operation.SEND_PART, 404)), None),
        (ServerError(400, path="/v1"), None),
        (ServerError(403, request=RefusedRequest(Operation.SEND_PART, 403)), None),
    ],
)
def test_a_server_error_says_what_may_help(error: ServerError, advice: Advice | None) -> None:
    assert error.advice is advice


def test_a_long_value_is_cut() -> None:
    assert shorten("a" * 78) == repr("a" * 78)
    assert shorten("a" * 79) == "'" + "a" * 76 + "..."
    assert len(str(InvalidSetting("host", "h" * 9000, "too long"))) < 200
    assert len(repr(InvalidSetting("host", "h" * 9000, "too long"))) < 200
