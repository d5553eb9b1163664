"""A registry's no in our words: which error, which reason, which text."""

from __future__ import annotations

import json

import pytest
from tests.support.scripted_flow import refuse, response

from ollama_push.core.errors import Operation, Peer, PushRejected, RejectionReason, ServerError
from ollama_push.core.registry.error_responses import codes_in, refusal, words_in
from ollama_push.core.responses import BufferedResponse

R = RejectionReason


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "DIGEST_INVALID", R.DIGEST_INVALID),
        (400, "digest_invalid", R.DIGEST_INVALID),
        (400, "NAME_INVALID", R.INVALID_NAME),
        (400, "MANIFEST_BLOB_UNKNOWN", R.BLOB_UNKNOWN),
        (404, "BLOB_UNKNOWN", R.BLOB_UNKNOWN),
        (404, "NAME_UNKNOWN", R.REPOSITORY_NOT_FOUND),
        (403, "DENIED", R.UNAUTHORIZED),
        (200, "UNAUTHORIZED", R.UNAUTHORIZED),
        (401, "NEW_CODE", R.UNAUTHORIZED),
        (403, "NEW_CODE", R.UNAUTHORIZED),
        (404, "NEW_CODE", R.REPOSITORY_NOT_FOUND),
        (413, "NEW_CODE", R.TOO_LARGE),
        (507, "NEW_CODE", R.REGISTRY_FULL),
        (501, "NEW_CODE", R.REGISTRY_FAILED),
        (418, "NEW_CODE", R.REGISTRY_REFUSED),
        (307, "NEW_CODE", R.REGISTRY_REFUSED),
    ],
)
def test_the_code_gives_the_reason_and_then_the_status(status: int, code: str, reason: RejectionReason) -> None:
    error = refusal(refuse(status, code, "no"), Operation.OPEN_UPLOAD)
    assert isinstance(error, PushRejected)
    assert error.reason is reason
    assert (error.status, error.operation, error.peer) == (status, Operation.OPEN_UPLOAD, Peer.REGISTRY)
    assert error.message == f"opening an upload: HTTP {status}: {code}: no"


def test_the_first_code_that_is_known_counts() -> None:
    body = b'{"errors":[{"code":"NEW"},{"message":"no code"},{"code":"DENIED"},{"code":"NAME_INVALID"}]}'
    error = refusal(response(400, {}, body), Operation.LOG_IN)
    assert isinstance(error, PushRejected)
    assert error.reason is R.UNAUTHORIZED
    assert error.codes == ("NEW", "", "DENIED", "NAME_INVALID")
    assert codes_in(response(400, {}, body)) == ("NEW", "", "DENIED", "NAME_INVALID")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_a_server_error_with_its_wait(status: int) -> None:
    error = refusal(response(status, {"retry-after": "7"}, b"busy"), Operation.SEND_PART, "sha256:ab")
    assert isinstance(error, ServerError)
    assert (error.status, error.words, error.retry_after) == (status, "busy", 7.0)
    assert (error.operation, error.peer) == (Operation.SEND_PART, Peer.REGISTRY)
    assert error.message == "sending a part of sha256:ab: busy"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (response(418), "the push was refused: opening an upload: HTTP 418"),
        (response(403), "the push was refused: opening an upload: HTTP 403: this login may not do that there"),
        (
            response(413),
            (
                "the push was refused: opening an upload: HTTP 413: it is too large for the registry,"
                " or for a proxy before it"
            ),
        ),
        (response(507), "the push was refused: opening an upload: HTTP 507: the registry has no room left"),
        (response(503), "the registry responded HTTP 503: opening an upload"),
        (
            response(307, {"location": "https://h/?token=5ecret "}),
            (
                "the push was refused: opening an upload: HTTP 307: redirected to https://h/?<hidden> ;"
                " a push is not redirected, give the final address"
            ),
        ),
    ],
)
def test_without_words_the_status_must_do(given: BufferedResponse, text: str) -> None:
    assert str(refusal(given, Operation.OPEN_UPLOAD)) == text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errors":[{"code":"A","message":"b","detail":"c"}]}', "A: b (c)"),
        (b'{"errors":[{"code":"A","detail":{"k":[1]}}]}', 'A ({"k":[1]})'),
        (b'{"errors":[{"code":"A"},{"message":"two\\nlines"}]}', "A; two lines"),
        (b'{"errors":[1,"x"]}', '{"errors":[1,"x"]}'),
        (b'{"errors":{}}', '{"errors":{}}'),
        (b"[1]", "[1]"),
        (b"404 page not found\n", "404 page not found"),
        (b"<html><title>413 Too Large</title><p>nginx</html>", "413 Too Large: nginx"),
        (b"", ""),
        (b'{"errors":[{"code":"A","message":"https://h/?X-Amz-Signature=5ecret"}]}', "A: https://h/?<hidden>"),
    ],
)
def test_words_are_what_a_person_would_read(body: bytes, words: str) -> None:
    assert words_in(response(400, {}, body)) == words


@pytest.mark.parametrize("status", [400, 413, 500, 503, 507])
@pytest.mark.parametrize(
    "body",
    [
        b'{"errors":[{"code":"UNKNOWN","detail":{"DriverName":"filesystem","Enclosed":{"Op":"write","Err":28}}}]}',
        b'{"errors":[{"code":"UNKNOWN","detail":{"driver":"filesystem","detail":{"Op":"mkdir","Err":122}}}]}',
        b'{"errors":[{"code":"UNKNOWN","message":"write /x: No space left on device"}]}',
        b"insufficient: disk quota exceeded\n",
    ],
)
def test_a_registry_without_room_is_full_whatever_the_status(status: int, body: bytes) -> None:
    error = refusal(response(status, {}, body), Operation.SEND_PART, "sha256:ab")
    assert isinstance(error, PushRejected)
    assert (error.reason, error.status) == (R.REGISTRY_FULL, status)


@pytest.mark.parametrize("detail", ["28", 5, [28], {"Err": "28"}, {"Err": 2}, {"a": {"b": {"c": {"d": {"Err": 28}}}}}])
def test_other_details_mean_no_full_disk(detail: object) -> None:
    body = json.dumps({"errors": [{"code": "UNKNOWN", "detail": detail}]}).encode()
    assert isinstance(refusal(response(500, {}, body), Operation.SEND_PART), ServerError)


def test_words_are_bounded() -> None:
    long = json.dumps({"errors": [{"message": "x" * 5000}]}).encode()
    assert len(words_in(response(400, {}, long))) == 500
    assert len(words_in(response(400, {}, b"{" + b"x" * 100_000))) == 500


@pytest.mark.parametrize("depth", [300, 600, 900, 950, 980, 990, 2000])
def test_a_deep_detail_is_still_a_refusal(depth: int) -> None:
    body = b'{"errors":[{"code":"DENIED","detail":' + b"[" * depth + b"]" * depth + b"}]}"
    assert isinstance(refusal(response(403, {}, body), Operation.LOG_IN), PushRejected)
