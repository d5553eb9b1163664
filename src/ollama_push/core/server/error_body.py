"""Bodies that are no response to a push: those of error statuses, and pages of proxies.

Source: ollama ``api/client.go`` ``checkError`` (JSON ``error`` and ``signin_url``); oras-go
``internal/errutil`` for the 8 KiB bound; RFC 9110, 10.2.3 for ``Retry-After``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ollama_push.core.errors import ServerError
from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.peer_text import readable_excerpt
from ollama_push.core.responses import retry_after_seconds
from ollama_push.core.server.reasons import reason_for

__all__ = ["foreign_content", "server_error"]

# Everything else may be the response to a push: servers before v0.0.14 were sniffed as text/plain, proxies relabel.
_FOREIGN_TYPES: Final = re.compile(
    r"text/html|application/xhtml|(?:text|application)/xml|image/|audio/|video/|text/event-stream"
)

# Longer ones are not opened by every browser, and a sign-in URL has some hundred.
_MAX_URL_CHARACTERS: Final = 2000


def foreign_content(headers: Mapping[str, str]) -> bool:
    """Say whether the body cannot be JSON lines: a page, or an encoding that was not asked for."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return True
    return _FOREIGN_TYPES.match(headers.get("content-type", "").strip().lower()) is not None


def server_error(status: int, headers: Mapping[str, str], body: bytes) -> ServerError:
    """Build the error for a response of status 300 or above from the first bytes of its body."""
    words, signin_url = _words_in(body)
    return ServerError(
        status,
        words,
        signin_url,
        retry_after_seconds(headers),
        reason_for(words),
        location=headers.get("location", ""),
    )


def _words_in(body: bytes) -> tuple[str, str | None]:
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
    usable = isinstance(signin_url, str) and len(signin_url) <= _MAX_URL_CHARACTERS
    return text, signin_url if usable else None
