"""What each recording of a real server must come to, written by hand from the recordings' scenarios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.support.refusals import server_error

from ollama_push.core.errors import PushRejected, ServerError
from ollama_push.core.facts import RejectionReason

__all__ = ["VERDICTS"]

_R: Final = RejectionReason

_DEMO: Final = (
    ("sha256:49a7f1752a33e1ad3b8f85bad4cf5223966cd012e5c48d45a14ed39f6d9eeab9", 40_000_000),
    ("sha256:ce0aabfa936fa7b3d8d50213de02499c0dcb08bb09dc254b6d36484e8789dc37", 21),
    ("sha256:87c16cb154b866ff6f52ed04f0fd3219fdb892518b6186446f9c93ae458a74fd", 1200),
    ("sha256:9c09f58b2c3f34975c4961e65b64d4352e8d31239e39fe21030e874a825b6534", 20),
    ("sha256:a8de60b87fa3f5e3a134196196df1a1509f7217bce900051c88c59fe48236c08", 503),
)
_TENSORS: Final = (("sha256:model", 18_000_073),)
_BLOB_URL: Final = f"localhost:5001/v2/team/demo/blobs/{_DEMO[0][0]}"
_MISSING: Final = (
    "open /usr/share/ollama/.ollama/models/manifests/localhost:5001/team/none/latest: no such file or directory"
)
_BLOB_UNKNOWN: Final = (
    '400: {"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry",'
    '"detail":{"digest":"sha256:00"}}]}'
)


def _refused(message: str, reason: RejectionReason) -> PushRejected:
    return PushRejected(message, reason)


VERDICTS: Final[Mapping[str, PushRejected | ServerError | tuple[tuple[str, int], ...]]] = {
    "error_access_denied": _refused("unauthorized: access denied", _R.UNAUTHORIZED),
    "error_bad_name": _refused("unqualified name: a/b/c/d/e:x", _R.INVALID_NAME),
    "error_basic_challenge": _refused('realm host "" does not match original host "localhost:5001"', _R.REALM_MISMATCH),
    "error_commit_400": _refused(
        '400: {"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}',
        _R.DIGEST_INVALID,
    ),
    "error_foreign_realm": _refused(
        'realm host "auth.example.com" does not match original host "localhost:5001"', _R.REALM_MISMATCH
    ),
    "error_head_500": _refused("500: ", _R.REGISTRY_FAILED),
    "error_https_to_http": _refused(
        f'Head "https://{_BLOB_URL}": tls: first record does not look like a TLS handshake', _R.REGISTRY_NOT_TLS
    ),
    "error_manifest_400": _refused(_BLOB_UNKNOWN, _R.BLOB_UNKNOWN),
    "error_manifest_400_not_streamed": server_error(500, _BLOB_UNKNOWN),
    "error_model_missing": _refused(_MISSING, _R.MODEL_NOT_FOUND),
    "error_model_missing_not_streamed": server_error(500, _MISSING),
    "error_part_500_for_ever": _refused(
        "max retries exceeded: http status 502 Bad Gateway: <html><body>502 Bad Gateway</body></html>",
        _R.REGISTRY_FAILED,
    ),
    "error_post_403": _refused(
        '403: {"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}', _R.UNAUTHORIZED
    ),
    "error_registry_refused": _refused(
        f'Head "http://{_BLOB_URL}": dial tcp 127.0.0.1:5001: connect: connection refused', _R.REGISTRY_UNREACHABLE
    ),
    "error_tensors_access_denied_manifest": _refused(
        'status 403: {"errors":[{"code":"DENIED","message":"denied"}]}', _R.UNAUTHORIZED
    ),
    "error_tensors_commit_500": _refused(
        "max retries exceeded: max retries exceeded: finalize: status 500: no space left", _R.REGISTRY_FAILED
    ),
    "error_token_denied": _refused(
        '401: {"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}', _R.UNAUTHORIZED
    ),
    "reject_array": server_error(400, "json: cannot unmarshal array into Go value of type api.PushRequest"),
    "reject_double_slash": server_error(307, location="/api/push"),
    "reject_empty_body": server_error(400, "missing request body"),
    "reject_get": server_error(405, "405 method not allowed"),
    "reject_gzip": server_error(400, r"invalid character '\x1f' looking for beginning of value"),
    "reject_host_header": server_error(403),
    "reject_no_model": server_error(400, "model is required"),
    "reject_origin": server_error(403),
    "reject_trailing_slash": server_error(307, location="/api/push"),
    "reject_truncated": server_error(400, "unexpected EOF"),
    "reject_wrong_type": server_error(
        400, "json: cannot unmarshal number into Go struct field PushRequest.model of type string"
    ),
    "success": _DEMO,
    "success_after_500_part": _DEMO,
    "success_after_dropped_part": _DEMO,
    "success_after_stall": _DEMO,
    "success_bearer": _DEMO,
    "success_name_key": _DEMO,
    "success_not_streamed": (),
    "success_slow": _DEMO,
    "success_slow_manifest": _DEMO,
    "success_tensors": _TENSORS,
    "success_tensors_not_streamed": (),
}
