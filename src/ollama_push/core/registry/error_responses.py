"""What a registry's no means: its error codes and statuses as our errors.

Source: distribution-spec v1.1.1, "Error Codes"; distribution's ``registry/api/errcode`` and ``registry/api/v2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason, ServerError
from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.peer_text import MAX_ERROR_BODY_BYTES, readable_excerpt
from ollama_push.core.redaction import redact
from ollama_push.core.responses import BufferedResponse, retry_after_seconds
from ollama_push.core.retry import TRANSIENT_STATUSES

__all__ = ["codes_in", "damaged_blob", "refusal", "words_in"]

_R = RejectionReason

_REASON_OF_CODE: Final[Mapping[str, RejectionReason]] = {
    "BLOB_UNKNOWN": _R.BLOB_UNKNOWN,
    "DENIED": _R.UNAUTHORIZED,
    "DIGEST_INVALID": _R.DIGEST_INVALID,
    "MANIFEST_BLOB_UNKNOWN": _R.BLOB_UNKNOWN,
    "NAME_INVALID": _R.INVALID_NAME,
    "NAME_UNKNOWN": _R.REPOSITORY_NOT_FOUND,
    "UNAUTHORIZED": _R.UNAUTHORIZED,
}
_REASON_OF_STATUS: Final[Mapping[int, RejectionReason]] = {
    401: _R.UNAUTHORIZED,
    403: _R.UNAUTHORIZED,
    404: _R.REPOSITORY_NOT_FOUND,
    413: _R.TOO_LARGE,
    # RFC 4918, 11.5, and what the embedded registry and some object stores answer when a disk is full
    507: _R.REGISTRY_FULL,
}

_WORDS_OF_STATUS: Final[Mapping[int, str]] = {
    403: "this login may not do that there",
    413: "it is too large for the registry, or for a proxy before it",
    507: "the registry has no room left",
}
"""What is said for a registry that says nothing."""


def refusal(response: BufferedResponse, doing: str) -> OllamaPushError:
    """Return the error for an *response* that is a no.

    A status that a later request may not meet is a ``ServerError``, which the retry policy knows; all others
    are a ``PushRejected``.

    Args:
        response: Any answer that is not what was hoped for.
        doing: What was asked for, such as ``"opening an upload"``.
    """
    words = words_in(response) or _WORDS_OF_STATUS.get(response.status, "")
    if not words and "location" in response.headers:
        words = f"it redirects to {response.headers['location']}; a push is not redirected, give the final address"
    if response.status in TRANSIENT_STATUSES:
        return ServerError(
            response.status, f"{doing}: {words}" if words else doing, None, retry_after_seconds(response.headers)
        )
    text = f"{doing}: HTTP {response.status}"
    if words:
        text = f"{text}: {words}"
    reasons = (_REASON_OF_CODE[code] for code in codes_in(response) if code in _REASON_OF_CODE)
    by_status = _REASON_OF_STATUS.get(response.status)
    if by_status is None:
        by_status = _R.REGISTRY_FAILED if response.status >= 500 else _R.REGISTRY_REFUSED  # noqa: PLR2004 - RFC 9110, 15.6
    return PushRejected(text, next(reasons, by_status))


def damaged_blob(digest: str) -> PushRejected:
    """Return the error for a *digest* that is rightly refused: the store's file has another."""
    text = f"the file of {digest} in the model store does not hold what its name says; pull or create the model again"
    return PushRejected(text, _R.STORE_DAMAGED, by_peer=False)


def codes_in(response: BufferedResponse) -> tuple[str, ...]:
    """Return the error codes of an answer, upper case; none when it is no error list."""
    return tuple(str(entry.get("code", "")).upper() for entry in _entries(response))


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
        # Redacted before it is cut: half a URL no longer looks like one.
        return " ".join(redact("; ".join(parts)).split())[:500]
    return readable_excerpt(response.body[:MAX_ERROR_BODY_BYTES])


def _entries(response: BufferedResponse) -> list[Mapping[str, Any]]:
    try:
        value = decode_json(response.body[:MAX_ERROR_BODY_BYTES])
    except ValueError:
        return []
    errors = value.get("errors") if isinstance(value, dict) else None
    return [entry for entry in errors if isinstance(entry, dict)] if isinstance(errors, list) else []
