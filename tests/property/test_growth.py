"""Work grows no faster than the text of a peer: twice the text, at most 2.5 times the time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pytest

from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import OllamaPushError, PushRejected, TransportMisbehaved
from ollama_push.core.facts import Operation
from ollama_push.core.json_text import decode_json
from ollama_push.core.names import ModelName, NameParts, is_registry_host
from ollama_push.core.observations import EventSeen, PushContext
from ollama_push.core.peer_text import clean, readable_excerpt
from ollama_push.core.ports import HttpRequest
from ollama_push.core.redaction import hide_secret_headers, redact
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.blob_upload.responses import bytes_arrived, smallest_part
from ollama_push.core.registry.challenges import parse_challenges
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.endpoints import Endpoint, may_carry_secrets
from ollama_push.core.registry.error_responses import codes_in, refusal, words_in
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.tokens import token_in
from ollama_push.core.responses import BufferedResponse, retry_after_seconds
from ollama_push.core.server.check import check_flow
from ollama_push.core.server.error_body import foreign_content, server_error
from ollama_push.core.server.protocol import PushProtocol
from ollama_push.core.server.reasons import reason_for
from ollama_push.gateway.messages import name_text
from ollama_push.gateway.push_request import PushRequestBody
from ollama_push.gateway.responses import RequestRefused
from ollama_push.gateway.route import route_for
from ollama_push.transports._framing import ChunkedBody

pytestmark = pytest.mark.slow

# Shorter than it takes a quadratic search to be noticed, longer than what is bounded costs.
_SIZE: Final = 40_000
_GROWTH: Final = 2.5
_RUNS: Final = 8
# Below this, the time says nothing about growth: a quadratic search of such a text takes seconds.
_QUICK_SECONDS: Final = 0.005

_UNITS: Final = (
    *(
        "a",
        "A1",
        " ",
        "\t",
        "\n",
        '"',
        "'",
        "\\",
        "\\u0041",
        "%41",
        "&#65;",
        "&#",
        "&",
        "/",
        "//",
        ".",
        "a.",
        ":",
        "@",
        "=",
        ",",
    ),
    *(
        "a://",
        "://",
        "://a@",
        "a://b?",
        "?",
        "a ",
        "a=",
        'a="',
        "a=b,",
        '="',
        "basic ",
        "bearer a",
        "Basic YTpi ",
        "9",
        "-",
        "0-",
    ),
    *(
        "password",
        "password ",
        "password=",
        "token=a&",
        '"secret": ',
        "x-amz-",
        "<",
        ">",
        "<title",
        "<title>",
        "</title",
        "<!--",
    ),
    *(
        "<script",
        "<script>",
        "</",
        "?nonce=",
        "/manifests/",
        "/blobs/sha256-",
        "max retries exceeded: ",
        "dial tcp ",
        "realm host ",
    ),
    *("[", "{", '{"a":', "null,", "\u0130", "\udc00", "../", "/../", "[::", "\u2028"),
)
_BEFORE: Final = ("", "://", 'a="')

_ENDPOINT: Final = Endpoint.of("registry.example", "team/m", plain_http=False)
_CONTEXT: Final = PushContext("m", "http://h")


def _response(text: str, status: int = 500) -> BufferedResponse:
    shown = text.replace("\n", " ")
    return BufferedResponse(
        status, {"location": shown, "content-type": shown, "www-authenticate": shown}, text.encode("utf-8", "replace")
    )


def _error_body(text: str) -> bytes:
    return json.dumps(
        {"errors": [{"code": text, "message": text, "detail": {text: text}}], "signin_url": text}
    ).encode()


def _push(text: str, key: str) -> None:
    machine = PushProtocol()
    machine.receive_head(200, {})
    machine.receive_data(json.dumps({"status": "p", "digest": "d", key: text}).encode() + b"\n")
    machine.receive_eof()
    machine.next_events()
    str(machine.next_event())


def _push_of_no_json(text: str) -> None:
    machine = PushProtocol()
    machine.receive_head(200, {})
    machine.receive_data(text.encode("utf-8", "replace") + b"\n")
    str(machine.next_event())


def _check(text: str) -> None:
    flow = check_flow("u/m", "http://h", {})
    next(flow)
    flow.send(BufferedResponse(200, {}, json.dumps({"version": text}).encode()))
    flow.send(BufferedResponse(200, {}, json.dumps({"models": [{"name": text}, {"name": f"u/{text}"}]}).encode()))
    flow.send(BufferedResponse(200, {}, json.dumps({"name": text}).encode()))


def _check_of_many(text: str) -> None:
    names = [{"name": text[at : at + 8]} for at in range(0, len(text), 8)]
    flow = check_flow("u/m", "http://h", {})
    next(flow)
    flow.send(BufferedResponse(404, {}, b""))
    flow.send(BufferedResponse(200, {}, json.dumps({"models": names}).encode()))


def _errors(text: str) -> None:
    for error in (
        PushRejected(text),
        server_error(500, {"location": text}, _error_body(text)),
        TransportMisbehaved.by(None, ValueError(text)),
        refusal(_response(text, 307), Operation.OPEN_UPLOAD, text),
    ):
        str(error)
        repr(error)


def _challenge(text: str) -> None:
    flow = Authorizer(_ENDPOINT, ("s",), plain_http=False, clock=lambda: 0.0, now=lambda: 0.0, nonce=bytes).send(
        HttpRequest("GET", _ENDPOINT.base)
    )
    next(flow)
    flow.send(_response(f'Bearer realm="{text}"', 401))
    flow.send(Login("u", "p"))


def _event(text: str) -> None:
    machine = PushProtocol()
    machine.receive_head(200, {})
    machine.receive_data(json.dumps({"status": text, "digest": text}).encode() + b"\n")
    for event in machine.next_events():
        LogHook()(EventSeen(_CONTEXT, 0.0, event))


_READERS: Final[dict[str, Callable[[str], object]]] = {
    "redact": redact,
    "clean": clean,
    "readable_excerpt": lambda text: readable_excerpt(text.encode("utf-8", "replace")),
    "headers": lambda text: hide_secret_headers({"Link": text}),
    "status of an event": lambda text: _push(text, "status"),
    "digest of an event": lambda text: _push(text, "digest"),
    "error line": lambda text: _push(text, "error"),
    "line that is no JSON": _push_of_no_json,
    "events in a log": _event,
    "reason": reason_for,
    "error body of a server": lambda text: server_error(500, {}, text.encode("utf-8", "replace")),
    "error body, JSON": lambda text: server_error(500, {}, _error_body(text)),
    "content type": lambda text: foreign_content({"content-type": text, "content-encoding": text}),
    "check": _check,
    "check of many models": _check_of_many,
    "errors": _errors,
    "words of a registry": lambda text: words_in(BufferedResponse(400, {}, _error_body(text))),
    "codes of a registry": lambda text: codes_in(_response(text)),
    "token": lambda text: token_in(BufferedResponse(200, {}, json.dumps({"token": text, "expires_in": 9}).encode())),
    "challenges": parse_challenges,
    "realm": _challenge,
    "location": lambda text: _ENDPOINT.located({"location": text}, "https://registry.example/v2/a/b/"),
    "address of a realm": lambda text: may_carry_secrets(text, plain_for=None),
    "retry-after": lambda text: retry_after_seconds({"retry-after": text, "date": text}),
    "range": lambda text: bytes_arrived(BufferedResponse(202, {"range": text}, b"")),
    "smallest part": lambda text: smallest_part(BufferedResponse(202, {"oci-chunk-min-length": text}, b"")),
    "manifest": lambda text: Manifest.parse(json.dumps({"layers": [], "mediaType": text, "config": text}).encode()),
    "manifest that is no JSON": lambda text: Manifest.parse(text.encode("utf-8", "replace")),
    "JSON": lambda text: decode_json(text.encode("utf-8", "replace")),
    "model name": ModelName.parse,
    "local name": ModelName.parse_local,
    "parts of a name": NameParts.split,
    "registry host": is_registry_host,
    "chunked body": lambda text: ChunkedBody().decode(text.encode("utf-8", "replace")),
    "request to the gateway": lambda text: PushRequestBody.parse(text.encode("utf-8", "replace")),
    "name in a request": lambda text: PushRequestBody.parse(json.dumps({"model": text, "username": text}).encode()),
    "illegal name in an answer": lambda text: _refused_name(f"{text}/b"),
}


def _refused_name(text: str) -> None:
    try:
        route_for(text, None)
    except OllamaPushError as error:
        name_text(text, error)  # type: ignore[arg-type]  # no other error is raised for a name


def _seconds(read: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    with suppress(OllamaPushError, RequestRefused, ValueError, StopIteration):
        read(text)
    return time.process_time() - began


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "many" in name else ()) for name in _READERS]
)
def test_twice_the_text_takes_at_most_two_and_a_half_times_as_long(name: str) -> None:
    read = _READERS[name]
    for before in _BEFORE:
        for unit in _UNITS:
            text, double = (before + unit * (size // len(unit)) for size in (_SIZE, 2 * _SIZE))
            # The least of some runs: other programs take time from a run, and give none.
            least, long = math.inf, math.inf
            for _ in range(_RUNS):
                long = min(long, _seconds(read, double))
                if long < _QUICK_SECONDS:
                    break
                least = min(least, _seconds(read, text))
                if long <= _GROWTH * least:
                    break
            else:
                pytest.fail(f"{before!r} and many {unit!r}: {least:.3f} s, and {long:.3f} s of twice the text")
