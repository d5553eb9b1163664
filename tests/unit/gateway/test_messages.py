"""Our errors in a real server's words: whoever reads Ollama's texts reads the same reason in ours."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidModelName,
    InvalidSetting,
    OllamaPushError,
    Peer,
    PushInterrupted,
    PushRejected,
    PushStalled,
    RejectionReason,
    ServerError,
    TransportTimeout,
    VerificationFailed,
)
from ollama_push.core.names import ModelName
from ollama_push.core.server.reasons import reason_for
from ollama_push.gateway.messages import error_text, name_text

R = RejectionReason
TARGET = ModelName.parse("registry.example.com/team/demo:v1")
ROOT = Path("/models")
HEX = "ab" * 32
ADDRESS = "https://registry.example.com"


def rejected(words: str, reason: RejectionReason) -> str:
    return error_text(PushRejected(words, reason), TARGET, ROOT)


@pytest.mark.parametrize(
    ("words", "reason", "text"),
    [
        ("it wants a login", R.UNAUTHORIZED, "unauthorized: access denied (it wants a login)"),
        ("opening an upload: HTTP 403: DENIED: no", R.UNAUTHORIZED, "403: DENIED: no (opening an upload)"),
        (
            "there is no model 'x'",
            R.MODEL_NOT_FOUND,
            (
                "open /models/manifests/registry.example.com/team/demo/v1: no such file or directory"
                " (there is no model 'x')"
            ),
        ),
        (
            'realm host "a.example.com" does not match original host "b.example.com"',
            R.REALM_MISMATCH,
            'realm host "a.example.com" does not match original host "b.example.com"',
        ),
        (
            "the registry sends logins to 'http://a.example.com/t', which is no https:// URL",
            R.REALM_MISMATCH,
            (
                'realm host "a.example.com" does not match original host "registry.example.com" (the registry sends'
                " logins to 'http://a.example.com/t', which is no https:// URL)"
            ),
        ),
        (
            f"blob sha256:{HEX} has 5 bytes, but 6 in the manifest",
            R.STORE_DAMAGED,
            (
                f"open /models/blobs/sha256-{HEX}: no such file as the manifest describes (blob sha256:{HEX} has"
                " 5 bytes, but 6 in the manifest)"
            ),
        ),
        ("opening an upload: HTTP 413: it is too large", R.TOO_LARGE, "413: it is too large (opening an upload)"),
        (
            "opening an upload: HTTP 404: NAME_UNKNOWN: x",
            R.REPOSITORY_NOT_FOUND,
            "file does not exist (opening an upload: HTTP 404: NAME_UNKNOWN: x)",
        ),
        ("pushing: HTTP 400: MANIFEST_BLOB_UNKNOWN: x", R.BLOB_UNKNOWN, "400: MANIFEST_BLOB_UNKNOWN: x (pushing)"),
        ("sending: HTTP 418: teapot", R.REGISTRY_REFUSED, "418: teapot (sending)"),
        ("sending: HTTP 501", R.REGISTRY_FAILED, "501: Not Implemented (sending)"),
        ("it counts 3 bytes of 2 sent", R.REGISTRY_REFUSED, "refused by the registry (it counts 3 bytes of 2 sent)"),
        (
            "pushing the manifest: HTTP 307: it redirects",
            R.REGISTRY_REFUSED,
            "refused by the registry (pushing the manifest: HTTP 307: it redirects)",
        ),
        (
            "the registry sends logins to 'https://[evil/t', which is no https:// URL",
            R.REALM_MISMATCH,
            'realm host "[evil" does not match original host "registry.example.com" (the registry sends',
        ),
        (
            "pushing: HTTP 400: NAME_INVALID: x",
            R.INVALID_NAME,
            "unqualified name: registry.example.com/team/demo:v1 (pushing: HTTP 400: NAME_INVALID: x)",
        ),
        ("no idea", R.UNKNOWN, "no idea"),
    ],
)
def test_a_refusal_is_said_as_a_real_server_says_it(words: str, reason: RejectionReason, text: str) -> None:
    assert rejected(words, reason).startswith(text)


def test_what_looks_like_a_secret_is_hidden_in_every_text_and_a_name_is_shown() -> None:
    presigned = "sending: HTTP 400: https://storage.example.com/x?X-Amz-Signature=abc"
    assert "abc" not in rejected(presigned, R.REGISTRY_REFUSED)
    for name, shown in (("/etc/passwd", "!MISSING!/etc/passwd:latest"), ("https://me:pw@h/a/b c", "<hidden>@h/a/b c")):
        with pytest.raises(InvalidModelName) as caught:
            ModelName.parse(name)
        text = name_text(name, caught.value)
        assert shown in text
        assert "pw" not in text.replace("passwd", "")


WORDS = ("anything", f"blob sha256:{HEX} is gone", "asking: HTTP 404: x", "unauthorized: x")
# Their table has no row for a full registry, and a damaged store is told by the blob.
READ_BACK = [
    (reason, words)
    for reason in R
    if reason not in (R.UNKNOWN, R.REGISTRY_FULL)
    for words in WORDS
    if reason is not R.STORE_DAMAGED or HEX in words
]


@pytest.mark.parametrize(("reason", "words"), READ_BACK)
def test_every_reason_is_read_back_whatever_the_words(reason: RejectionReason, words: str) -> None:
    assert reason_for(rejected(words, reason)) is reason


@pytest.mark.parametrize(
    ("error", "text", "reason"),
    [
        (
            ConnectFailed(ADDRESS, ConnectCause.REFUSED, "connect call failed", Peer.REGISTRY),
            "dial tcp registry.example.com: connect: connection refused (nothing listens at",
            R.REGISTRY_UNREACHABLE,
        ),
        (
            ConnectFailed(ADDRESS, ConnectCause.UNKNOWN_HOST, "", Peer.REGISTRY),
            "dial tcp: lookup registry.example.com: no such host (",
            R.REGISTRY_UNREACHABLE,
        ),
        (
            ConnectFailed(ADDRESS, ConnectCause.UNREACHABLE),
            "dial tcp registry.example.com: connect: ",
            R.REGISTRY_UNREACHABLE,
        ),
        (
            ConnectFailed(ADDRESS, ConnectCause.PROXY, "502"),
            "dial tcp registry.example.com (the proxy",
            R.REGISTRY_UNREACHABLE,
        ),
        (
            ConnectFailed(ADDRESS, ConnectCause.UNTRUSTED_CERTIFICATE),
            "tls: failed to verify certificate: x509",
            R.CERTIFICATE,
        ),
        (ConnectFailed(ADDRESS, ConnectCause.NOT_TLS), "tls: first record does not look like", R.REGISTRY_NOT_TLS),
        (
            TransportTimeout(ADDRESS, "connect", 10.0),
            "dial tcp registry.example.com: i/o timeout (",
            R.REGISTRY_UNREACHABLE,
        ),
        (TransportTimeout(ADDRESS, "read", 10.0), "max retries exceeded: ", R.REGISTRY_FAILED),
        (ConnectionLost(ADDRESS, "reset"), "max retries exceeded: ", R.REGISTRY_FAILED),
        (PushStalled(9.0), "max retries exceeded: ", R.REGISTRY_FAILED),
        (ServerError(503, "sending: busy"), "503: sending: busy", R.REGISTRY_FAILED),
        (ServerError(429, "slow down"), "429: slow down", R.REGISTRY_REFUSED),
        (PushInterrupted(1, 2), "the gateway is shutting down (stopped on request", R.CANCELLED),
        (VerificationFailed("sha256:ab", "it is gone"), "verification failed for sha256:ab", R.UNKNOWN),
        (InvalidSetting("models", "/x", "this is no model store"), "models='/x': this is no", R.UNKNOWN),
        (
            InvalidModelName("A/b", "lower case only"),
            "unqualified name: registry.example.com/team/demo:v1 (lower",
            R.INVALID_NAME,
        ),
    ],
)
def test_every_error_has_words_that_are_read_back(error: OllamaPushError, text: str, reason: RejectionReason) -> None:
    said = error_text(error, TARGET, ROOT)
    assert said.startswith(text)
    assert reason_for(said) is reason


def test_an_error_that_was_tried_again_says_so() -> None:
    error = ServerError(502, "sending: Bad Gateway")
    error.attempts = 4
    assert error_text(error, TARGET, ROOT) == "max retries exceeded: http status 502 Bad Gateway: sending: Bad Gateway"
    unknown = attrs.evolve(error, status=599)
    unknown.attempts = 2
    assert error_text(unknown, TARGET, ROOT).startswith("max retries exceeded: http status 599 : ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/b/c/d/e:x", "unqualified name: a/b/c/d/e:x"),
        ("-bad/x", "unqualified name: registry.ollama.ai/-bad/x:latest"),
        ("a/", "unqualified name: registry.ollama.ai/a/!MISSING!:latest"),
        ("/a/b:", "unqualified name: !MISSING!/a/b:!MISSING!"),
        ("https:///a/b", "unqualified name: !MISSING!/a/b:latest"),
        ("", "unqualified name: registry.ollama.ai/library/!MISSING!:latest"),
        ("my-llama", "unqualified name: registry.ollama.ai/library/my-llama:latest (a push needs a namespace"),
    ],
)
def test_a_name_is_refused_in_a_real_servers_words(name: str, text: str) -> None:
    with pytest.raises(InvalidModelName) as refused:
        ModelName.parse(name)
    assert name_text(name, refused.value).startswith(text)
    assert reason_for(text) is R.INVALID_NAME


def test_presigned_urls_do_not_show() -> None:
    text = rejected("sending: HTTP 400: https://s3.example.com/x?X-Amz-Signature=abc", R.REGISTRY_REFUSED)
    assert "abc" not in text
