"""What a person would read in a body that a peer sent: bounded, on one line, without secrets."""

from __future__ import annotations

import html
import re
from typing import Final

from ollama_push.core.redaction import redact

__all__ = ["MAX_ERROR_BODY_BYTES", "readable_excerpt"]

MAX_ERROR_BODY_BYTES: Final = 8192
"""How much of the body of an error response is read, as oras-go does (``internal/errutil``)."""

_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN: Final = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*>?", re.IGNORECASE | re.DOTALL)
_SHOWN_CHARACTERS: Final = 500


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
