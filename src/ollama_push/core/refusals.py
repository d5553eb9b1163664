"""Bodies that are no push's answer: error statuses and pages of something in between.

Source: ollama ``api/client.go`` ``checkError`` (JSON ``error`` and ``signin_url``); oras-go
``internal/errutil`` for the 8 KiB bound; RFC 9110, 10.2.3 for ``Retry-After``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from ollama_push.core.errors import ServerError
from ollama_push.core.jsons import decode_json, encode_json
from ollama_push.core.redaction import redact

__all__ = ["MAX_ERROR_BODY_BYTES", "foreign_content", "readable_excerpt", "retry_after_seconds", "server_error"]

MAX_ERROR_BODY_BYTES: Final = 8192

# Everything else may be a push's answer: servers before v0.0.14 were sniffed as text/plain, proxies relabel.
_FOREIGN_TYPES: Final = re.compile(
    r"text/html|application/xhtml|(?:text|application)/xml|image/|audio/|video/|text/event-stream"
)
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN: Final = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*>?", re.IGNORECASE | re.DOTALL)
_SHOWN_CHARACTERS: Final = 500


def foreign_content(headers: Mapping[str, str]) -> bool:
    """Say whether the body cannot be JSON lines: a page, or an encoding that was not asked for."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return True
    return _FOREIGN_TYPES.match(headers.get("content-type", "").strip().lower()) is not None


def server_error(status: int, headers: Mapping[str, str], body: bytes) -> ServerError:
    """Build the error for an answer of status 300 or above from the first bytes of its body."""
    message, signin_url = _message_in(body)
    location = headers.get("location")
    if location is not None and not message:
        message = f"it redirects to {location}; a push is not redirected, give the final address"
    if status == 403 and not message:  # noqa: PLR2004 - the one status Ollama sends without a word
        message = "Ollama refuses this Host or Origin header; use a loopback name, or OLLAMA_ORIGINS on the server"
    return ServerError(status, message, signin_url, retry_after_seconds(headers))


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the wait a ``Retry-After`` header asks for, in seconds; ``None`` without a usable one.

    The HTTP-date form is measured against the answer's own ``Date``, so no clock is needed.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def readable_excerpt(body: bytes) -> str:
    """Return what a person would read in *body*: a page's title and text, one line, bounded."""
    text = body.decode("utf-8", "replace")
    if "<" in text:
        title = _TITLE.search(text)
        text = f"{title[1]}: {_UNSEEN.sub(' ', text.replace(title[0], ''))}" if title else _UNSEEN.sub(" ", text)
        text = html.unescape(text)
    # Redacted before it is cut: half a URL no longer looks like one.
    text = redact(" ".join(text.split()).removesuffix(":"))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _message_in(body: bytes) -> tuple[str, str | None]:
    """Return the text and the sign-in URL of an error body of any kind."""
    try:
        value = decode_json(body)
    except ValueError:
        return readable_excerpt(body), None
    if not isinstance(value, dict):
        return readable_excerpt(body), None
    error = value.get("error") or value.get("message") or value.get("errors")
    if error is None:
        return readable_excerpt(body), None
    signin_url = value.get("signin_url")
    text = error if isinstance(error, str) else readable_excerpt(encode_json(error))
    return text, signin_url if isinstance(signin_url, str) else None
