"""What a registry's no means: its error codes and statuses as our errors.

Source: distribution-spec v1.1.1, "Error Codes"; distribution's ``registry/api/errcode`` and ``registry/api/v2``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from ollama_push.core.errors import PushRejected, RejectionReason, ServerError
from ollama_push.core.facts import Advice, Operation, RefusedRequest, StoreDamaged, StoreProblem
from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.peer_text import MAX_ERROR_BODY_BYTES, clean, readable_excerpt
from ollama_push.core.responses import BufferedResponse, retry_after_seconds
from ollama_push.core.retry import TRANSIENT_STATUSES

__all__ = ["codes_in", "damaged_blob", "is_full", "refusal", "wants_tls", "words_in"]

_R = RejectionReason
_CODE_CHARACTERS: Final = 80
_FULL: Final = re.compile(r"no space left on device|disk quota exceeded|not enough space on the disk", re.IGNORECASE)
_BAD_REQUEST: Final = 400
# nginx; Go's net/http (distribution, zot, Caddy and others); Apache; Tomcat (Artifactory, Nexus).
_PLAIN_TO_TLS: Final = re.compile(
    rb"plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server|"
    rb"speaking plain HTTP to an SSL-enabled server port|combination of host and port requires TLS",
    re.IGNORECASE,
)
_FULL_NUMBERS: Final = (28, 122)
_DEPTH: Final = 3

_REASON_OF_CODE: Final[Mapping[str, RejectionReason]] = {
    "BLOB_UNKNOWN": _R.BLOB_UNKNOWN,
    "DENIED": _R.UNAUTHORIZED,
    "DIGEST_INVALID": _R.DIGEST_INVALID,
    "MANIFEST_BLOB_UNKNOWN": _R.BLOB_UNKNOWN,
    "NAME_INVALID": _R.INVALID_NAME,
    "NAME_UNKNOWN": _R.REPOSITORY_NOT_FOUND,
    "UNAUTHORIZED": _R.UNAUTHORIZED,
}


def refusal(response: BufferedResponse, operation: Operation, subject: str = "") -> ServerError | PushRejected:
    """Return the error for a *response* that is a refusal.

    A status that a later request may not meet is a ``ServerError``, which the retry policy knows; all others
    are a ``PushRejected``. So is a registry without room, whatever status it says so with: nothing that is sent
    again makes room.

    Args:
        response: Any response with a status that the operation does not expect.
        operation: What was asked for.
        subject: The digest or URL it was about.
    """
    status, words, codes = response.status, words_in(response), codes_in(response)
    request = RefusedRequest(operation, status, codes, subject, response.headers.get("location", ""))
    if is_full(response):
        return PushRejected(words, _R.REGISTRY_FULL, request)
    if status in TRANSIENT_STATUSES:
        wait = retry_after_seconds(response.headers)
        return ServerError(status, words, retry_after=wait, reason=_R.REGISTRY_FAILED, request=request)
    return PushRejected(words, _reason(status, codes), request)


def is_full(response: BufferedResponse) -> bool:
    """Say whether the registry has no room left, by its words or by the number of the system's error.

    Source: distribution ``registry/storage/driver/storagedriver.go`` (``Error.MarshalJSON``): a filesystem's error is
    the ``Err`` of ``Enclosed`` (2.8) or of ``detail`` (3.0), a number. errno.h of Linux: 28 ENOSPC, 122 EDQUOT.
    """
    if _FULL.search(words_in(response)):
        return True
    return any(_holds_full(entry.get("detail")) for entry in _entries(response))


def _holds_full(detail: object, depth: int = 0) -> bool:
    if not isinstance(detail, dict) or depth > _DEPTH:
        return False
    return detail.get("Err") in _FULL_NUMBERS or any(_holds_full(value, depth + 1) for value in detail.values())


def wants_tls(response: BufferedResponse) -> bool:
    """Say whether *response* is what a program that speaks TLS says to plain HTTP."""
    return response.status == _BAD_REQUEST and _PLAIN_TO_TLS.search(response.body[:MAX_ERROR_BODY_BYTES]) is not None


def damaged_blob(digest: str) -> PushRejected:
    """Return the error for a *digest* that is rightly refused: the store's file has another."""
    facts = StoreDamaged(StoreProblem.BLOB_DIGEST, digest=digest, advice=Advice.RECREATE_MODEL)
    return PushRejected("", _R.STORE_DAMAGED, facts)


def _reason(status: int, codes: Collection[str]) -> RejectionReason:
    by_code = next((_REASON_OF_CODE[code] for code in codes if code in _REASON_OF_CODE), None)
    by_status = _R.REPOSITORY_NOT_FOUND if status == 404 else _R.of_status(status)  # noqa: PLR2004 - Not Found
    return by_code or by_status


def codes_in(response: BufferedResponse) -> tuple[str, ...]:
    """Return the error codes of a response, upper case; none when it is no error list."""
    return tuple(clean(str(entry.get("code", "")).upper(), _CODE_CHARACTERS) for entry in _entries(response))


def words_in(response: BufferedResponse) -> str:
    """Return the registry's words on one line: its error list, or what a person would read in the body."""
    parts = []
    for entry in _entries(response):
        words = ": ".join(str(entry[key]) for key in ("code", "message") if entry.get(key))
        detail = entry.get("detail")
        if detail:
            words = f"{words} ({detail if isinstance(detail, str) else encode_json(detail).decode()})"
        parts.append(words)
    if parts:
        return clean(" ".join("; ".join(parts).split()))
    return readable_excerpt(response.body[:MAX_ERROR_BODY_BYTES])


def _entries(response: BufferedResponse) -> list[Mapping[str, Any]]:
    try:
        value = decode_json(response.body[:MAX_ERROR_BODY_BYTES])
    except ValueError:
        return []
    errors = value.get("errors") if isinstance(value, dict) else None
    return [entry for entry in errors if isinstance(entry, dict)] if isinstance(errors, list) else []
