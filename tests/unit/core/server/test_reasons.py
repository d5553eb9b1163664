"""What a refusal means: at least one real text for every row, and no guess beyond them."""

from __future__ import annotations

from typing import Final

import pytest

from ollama_push.core.facts import RejectionReason
from ollama_push.core.peer_text import INSPECTED_CHARACTERS
from ollama_push.core.server.reasons import REASONS, reason_for

_R: Final = RejectionReason

# One text for each row of the table, in its order.
TEXTS: Final = (
    ('500: {"errors":[{"code":"UNKNOWN","detail":{"Enclosed":{"Op":"write","Err":28}}}]}', _R.REGISTRY_FULL),
    ("unauthorized: access denied", _R.UNAUTHORIZED),
    ('max retries exceeded: {"code":"DENIED"}', _R.UNAUTHORIZED),
    ('400: {"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}', _R.BLOB_UNKNOWN),
    ('max retries exceeded: http status 400: {"errors":[{"code":"DIGEST_INVALID"}]}', _R.DIGEST_INVALID),
    ('401: {"errors":[{"message":"who are you"}]}', _R.UNAUTHORIZED),
    ("on push registry responded with code 403: no", _R.UNAUTHORIZED),
    ("push access denied", _R.UNAUTHORIZED),
    ("unable to push a/b, make sure this namespace exists and you are authorized", _R.UNAUTHORIZED),
    ("open /root/.ollama/id_ed25519: no such file or directory", _R.UNAUTHORIZED),
    ('realm host "auth.example.com" does not match original host "localhost:5001"', _R.REALM_MISMATCH),
    ('Get "?nonce=abc&ts=1": unsupported protocol scheme ""', _R.REALM_MISMATCH),
    ("open /root/.ollama/models/manifests/h/a/b/latest: no such file or directory", _R.MODEL_NOT_FOUND),
    ("couldn't open file '/root/.ollama/x'", _R.MODEL_NOT_FOUND),
    ("unqualified name: a/b/c/d/e:x", _R.INVALID_NAME),
    ("invalid model name", _R.INVALID_NAME),
    ("model is required", _R.INVALID_NAME),
    ("insecure protocol http", _R.INVALID_NAME),
    ("open /root/.ollama/models/blobs/sha256-ab12: no such file or directory", _R.STORE_DAMAGED),
    ("invalid digest format", _R.STORE_DAMAGED),
    ("mkdir x: ensure path elements are traversable", _R.STORE_DAMAGED),
    ("unexpected end of JSON input", _R.STORE_DAMAGED),
    ("file does not exist", _R.REPOSITORY_NOT_FOUND),
    ("max retries exceeded: http status 413 Request Entity Too Large: ", _R.TOO_LARGE),
    ("max retries exceeded: http status 507 Insufficient Storage: no room", _R.REGISTRY_FULL),
    ('Head "https://h": tls: first record does not look like a TLS handshake', _R.REGISTRY_NOT_TLS),
    ('Head "https://h": x509: certificate signed by unknown authority', _R.CERTIFICATE),
    ('Head "http://h": dial tcp 127.0.0.1:5001: connect: connection refused', _R.REGISTRY_UNREACHABLE),
    ("context canceled", _R.CANCELLED),
    ("max retries exceeded: http status 502 Bad Gateway", _R.REGISTRY_FAILED),
    ('Put "http://h/v2/x": EOF', _R.REGISTRY_FAILED),
)


@pytest.mark.parametrize(
    "text",
    [
        "max retries exceeded: http status 500: write /var/lib/registry/x: no space left on device",
        "507: Disk quota exceeded",
        '500: {"detail":{"Err": 122}}',
    ],
)
def test_a_full_registry_is_one_whatever_the_status(text: str) -> None:
    assert reason_for(text) is _R.REGISTRY_FULL
    assert reason_for('500: {"detail":{"Err":280}}') is _R.REGISTRY_FAILED


@pytest.mark.parametrize(("text", "reason"), TEXTS)
def test_means(text: str, reason: RejectionReason) -> None:
    assert reason_for(text) is reason


def test_every_row_is_reached_by_a_text() -> None:
    first = [next(number for number, (row, _, _) in enumerate(REASONS) if row.search(text)) for text, _ in TEXTS]
    assert first == list(range(len(REASONS)))


def test_every_row_cites_its_source() -> None:
    assert all(source for _pattern, _reason, source in REASONS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("402: pay", _R.REGISTRY_REFUSED),
        ("429: slow down", _R.REGISTRY_REFUSED),
        ("307: Temporary Redirect", _R.REGISTRY_REFUSED),
        ("500: ", _R.REGISTRY_FAILED),
        ("507: no space left", _R.REGISTRY_FULL),
        ("on push registry responded with code 500: x", _R.REGISTRY_FAILED),
        ("on push registry responded with code 405: x", _R.REGISTRY_REFUSED),
        # What a registry says behind its status decides nothing.
        ("409: access denied by policy, connection refused", _R.REGISTRY_REFUSED),
        ("403: dial tcp: no such host", _R.UNAUTHORIZED),
        ("status 403: denied", _R.UNAUTHORIZED),
        ("UNAUTHORIZED: ACCESS DENIED", _R.UNAUTHORIZED),
        ("open C:\\m\\manifests\\h\\a: The system cannot find the path specified.", _R.MODEL_NOT_FOUND),
        ("commit: status 413: too large", _R.TOO_LARGE),
        ("status 404: x", _R.REGISTRY_REFUSED),
        ("read: unexpected EOF", _R.REGISTRY_FAILED),
    ],
)
def test_other_spellings_mean_the_same(text: str, reason: RejectionReason) -> None:
    assert reason_for(text) is reason


@pytest.mark.parametrize("text", ["", "something new", "the model 413 is odd", "name is a requirement", "6000: x"])
def test_an_unknown_text_is_not_guessed(text: str) -> None:
    assert reason_for(text) is RejectionReason.UNKNOWN


def test_only_what_may_pass_is_transient() -> None:
    assert {reason for reason in RejectionReason if reason.is_transient} == {
        _R.CANCELLED,
        _R.REGISTRY_FAILED,
        _R.REGISTRY_UNREACHABLE,
    }


def test_of_a_long_text_the_beginning_and_the_end_are_read() -> None:
    words, half = "push access denied", INSPECTED_CHARACTERS // 2
    gap = "." * INSPECTED_CHARACTERS
    assert reason_for("." * (half - len(words)) + words + gap) is _R.UNAUTHORIZED
    assert reason_for(gap + words + "." * (half - len(words))) is _R.UNAUTHORIZED
    assert reason_for(gap + words + gap) is _R.UNKNOWN
