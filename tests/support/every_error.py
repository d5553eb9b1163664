"""Every kind of error with every kind of fact, and what is said of it to the three audiences.

``python -m tests.support.every_error --write`` writes ``tests/data/messages.json``, which the tests compare with and a
person reviews: Python (``str``), the command, the line of the gateway.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from ollama_push.cli.messages import USUAL
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
    PushInterrupted,
    PushRejected,
    PushStalled,
    RejectionReason,
    ServerError,
    StreamTruncated,
    TransportMisbehaved,
    TransportTimeout,
    UnexpectedContent,
    UsedAfterClose,
    VerificationFailed,
    VerificationProblem,
)
from ollama_push.core.facts import (
    Advice,
    CredentialKind,
    ForbiddenAddress,
    LoginRefused,
    ModelMissing,
    Operation,
    PlaceProblem,
    RealmProblem,
    RealmRefused,
    RefusedRequest,
    ResponseProblem,
    Side,
    StoreDamaged,
    StoreProblem,
    UnusableResponse,
)
from ollama_push.core.hosts import AddressProblem
from ollama_push.core.names import ModelName
from ollama_push.core.registry.places import place_failed
from ollama_push.gateway.messages import error_text

__all__ = ["EVERY_ERROR", "MESSAGES", "said"]

MESSAGES: Final = Path(__file__).parents[1] / "data" / "messages.json"
_AT: Final = "https://registry.example.com"
_SERVER: Final = "http://127.0.0.1:11434"
_HOST: Final = "registry.example.com"
_DIGEST: Final = f"sha256:{'ab' * 32}"
_TARGET: Final = ModelName.parse("registry.example.com/team/demo:v1")
_ROOT: Final = Path("/models")
_R: Final = RejectionReason


def _refused(operation: Operation, status: int, words: str, reason: RejectionReason, **facts: Any) -> PushRejected:
    return PushRejected(words, reason, RefusedRequest(operation, status, **facts))


def _asks_to_wait(status: int, seconds: float) -> ServerError:
    request = RefusedRequest(Operation.OPEN_UPLOAD, status)
    error = ServerError(status, "TOOMANYREQUESTS: slow down", retry_after=seconds, request=request)
    error.longest_wait = 60.0
    return error


def _login(shown: CredentialKind, **facts: Any) -> PushRejected:
    login = LoginRefused(_HOST, shown, "team/demo", **facts)
    return PushRejected("UNAUTHORIZED: who are you", _R.UNAUTHORIZED, login)


def _damaged(problem: StoreProblem, **facts: Any) -> PushRejected:
    return PushRejected("", _R.STORE_DAMAGED, StoreDamaged(problem, **facts))


EVERY_ERROR: Final[tuple[OllamaPushError, ...]] = (
    InvalidModelName("x y", "spaces are not allowed"),
    InvalidModelName("http://h/a/b", "a name does not choose plain HTTP; leave http:// out", Advice.ASK_PLAIN_HTTP),
    InvalidSetting("ca_file", "x", "no readable PEM certificates"),
    InvalidSetting("OLLAMA_HOST", "<hidden>", "user and password do not belong in the address", Advice.PASS_HEADERS),
    UsedAfterClose("PushClient"),
    MachineMisuse("receive_head() called twice"),
    TransportMisbehaved("Mine", "KeyError('x')"),
    *(ConnectFailed(_SERVER, cause, "", Peer.SERVER) for cause in ConnectCause),
    *(ConnectFailed(_AT, cause, "what the system said", Peer.REGISTRY) for cause in ConnectCause),
    *(ConnectFailed(_AT, cause, "", Peer.ELSEWHERE) for cause in ConnectCause),
    ConnectionLost(_AT, "reset"),
    TransportTimeout(_AT, "connect", 2.5),
    TransportTimeout(_AT, "read", 60.0),
    MalformedLine("nope", "not JSON"),
    LineTooLong(8_000_000, 8_000_001),
    UnexpectedContent(200, "text/html", "Welcome"),
    StreamTruncated("pushing manifest"),
    ServerError(500, "no space left"),
    ServerError(401, "unauthorized", "https://ollama.com/connect?key=abc"),
    ServerError(403),
    ServerError(307, location="https://elsewhere.example.com/api/push"),
    ServerError(503, "busy", request=RefusedRequest(Operation.SEND_PART, 503, subject=_DIGEST)),
    PushRejected(
        "MANIFEST_INVALID: manifest invalid",
        RejectionReason.REGISTRY_REFUSED,
        RefusedRequest(
            Operation.PUSH_MANIFEST,
            415,
            ("MANIFEST_INVALID",),
            "application/vnd.docker.distribution.manifest.v2+json",
        ),
    ),
    PushRejected(
        "",
        RejectionReason.REGISTRY_REFUSED,
        RefusedRequest(Operation.PUSH_MANIFEST, 415, subject="application/vnd.docker.distribution.manifest.v2+json"),
    ),
    _asks_to_wait(429, 3600.0),
    PushStalled(900.0),
    PushInterrupted(2_000_000, 5_000_000),
    PushInterrupted(2_000_000, 5_000_000, 1_000_000),
    *(
        VerificationFailed(_DIGEST, problem, found, str(_TARGET), "it is no JSON")
        for problem, found in (
            (VerificationProblem.NO_MANIFEST, None),
            (VerificationProblem.OTHER_MANIFEST, "sha256:cd"),
            (VerificationProblem.NOT_A_MANIFEST, None),
            (VerificationProblem.NO_BLOB, None),
            (VerificationProblem.UNREADABLE, None),
            (VerificationProblem.OTHER_BLOB, "sha256:cd"),
            (VerificationProblem.PUBLIC, None),
        )
    ),
    VerificationFailed(_DIGEST, VerificationProblem.OTHER_SIZE, 5, 6),
    PushRejected("unauthorized: access denied", _R.UNAUTHORIZED),
    PushRejected(""),
    *(
        _refused(operation, 400, "SIZE_INVALID: no", _R.REGISTRY_REFUSED, subject=_DIGEST)
        for operation in Operation
        if operation is not Operation.PUSH
    ),
    _refused(Operation.OPEN_UPLOAD, 409, "access denied by policy, connection refused", _R.REGISTRY_REFUSED),
    _refused(Operation.OPEN_UPLOAD, 400, "DENIED: no", _R.UNAUTHORIZED),
    _refused(Operation.OPEN_UPLOAD, 403, "", _R.UNAUTHORIZED),
    _refused(Operation.OPEN_UPLOAD, 404, "NAME_UNKNOWN: x", _R.REPOSITORY_NOT_FOUND),
    _refused(Operation.OPEN_UPLOAD, 400, "NAME_INVALID: x", _R.INVALID_NAME),
    _refused(Operation.SEND_PART, 413, "", _R.TOO_LARGE, subject=_DIGEST),
    _refused(Operation.SEND_PART, 507, "", _R.REGISTRY_FULL, subject=_DIGEST),
    _refused(Operation.SEND_PART, 501, "", _R.REGISTRY_FAILED, subject=_DIGEST),
    _refused(Operation.COMMIT_BLOB, 400, "DIGEST_INVALID: x", _R.DIGEST_INVALID, subject=_DIGEST),
    _refused(Operation.PUSH_MANIFEST, 404, "MANIFEST_BLOB_UNKNOWN: x", _R.BLOB_UNKNOWN),
    _refused(Operation.PUSH_MANIFEST, 307, "", _R.REGISTRY_REFUSED, location="https://elsewhere.example.com/v2/"),
    *(
        PushRejected("", _R.REGISTRY_REFUSED, UnusableResponse(Operation.OPEN_UPLOAD, problem, f"{_AT}/token", 3, 2))
        for problem in ResponseProblem
    ),
    _login(CredentialKind.NOTHING),
    _login(CredentialKind.NOTHING, plain_http=True),
    _login(CredentialKind.LOGIN, username="me"),
    _login(CredentialKind.LOGIN, username="me", is_known=True),
    _login(CredentialKind.TOKEN),
    _login(CredentialKind.TOKEN, is_known=True),
    _login(CredentialKind.KEY, public_key="AAAAC3"),
    PushRejected("", _R.REALM_MISMATCH, RealmRefused(f"{_AT}:5/t", f"{_HOST}:5", _HOST, RealmProblem.OTHER_HOST)),
    PushRejected(
        "",
        _R.REALM_MISMATCH,
        RealmRefused("http://auth.example.com/t", "auth.example.com", _HOST, RealmProblem.NOT_HTTPS),
    ),
    PushRejected("", _R.MODEL_NOT_FOUND, ModelMissing(str(_TARGET), "/models", is_empty=True)),
    PushRejected("", _R.MODEL_NOT_FOUND, ModelMissing(str(_TARGET), "/models", nearest=("demo:v1", "dome:v1"))),
    PushRejected("", _R.MODEL_NOT_FOUND, ModelMissing(str(_TARGET), "/models", twin="demo:v1")),
    PushRejected("", _R.MODEL_NOT_FOUND, ModelMissing("team/demo:v1", None)),
    PushRejected("", _R.MODEL_NOT_FOUND, ModelMissing("team/demo:v1", None, twin="demo:v1", nearest=("demo:v1",))),
    _damaged(StoreProblem.MANIFEST_UNREADABLE, path="/models/manifests/x", model="x:y", words="Permission denied"),
    _damaged(StoreProblem.BLOB_MISSING, path="/models/blobs/x", digest=_DIGEST, advice=Advice.RECREATE_MODEL),
    _damaged(StoreProblem.BLOB_UNREADABLE, path="/models/blobs/x", digest=_DIGEST, words="Permission denied"),
    _damaged(
        StoreProblem.BLOB_SIZE,
        path="/models/blobs/x",
        digest=_DIGEST,
        found_bytes=5,
        expected_bytes=6,
        advice=Advice.RECREATE_MODEL,
    ),
    _damaged(StoreProblem.BLOB_DIGEST, digest=_DIGEST, advice=Advice.RECREATE_MODEL),
    _damaged(StoreProblem.BLOB_CHANGED, path="/models/blobs/x", words="it ends too early"),
    *(PushRejected("", _R.UNKNOWN, ForbiddenAddress("x.example.com", problem)) for problem in AddressProblem),
    *(place_failed(Side.SOURCE, "oci:models", problem, digest=_DIGEST, words="no") for problem in PlaceProblem),
    place_failed(Side.TARGET, "ollama:demo", PlaceProblem.BROKEN, words="No space left on device"),
)


def said(error: OllamaPushError) -> dict[str, str]:
    """Return what is said of *error* to the three audiences."""
    return {
        "python": str(error),
        "command": USUAL.format(error, str(_TARGET)),
        "gateway": error_text(error, _TARGET, _ROOT),
    }


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    MESSAGES.write_text(json.dumps([said(error) for error in EVERY_ERROR], indent=1) + "\n", "utf-8")
