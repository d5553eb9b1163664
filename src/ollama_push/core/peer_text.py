"""What is kept of a text that a peer sent: bounded before anything else looks at it, and without secrets."""

from __future__ import annotations

import html
import re
from typing import Final

from ollama_push.core.redaction import redact

__all__ = ["INSPECTED_CHARACTERS", "MAX_ERROR_BODY_BYTES", "SHOWN_CHARACTERS", "clean", "readable_excerpt"]

MAX_ERROR_BODY_BYTES: Final = 8192
"""How much of the body of an error response is read, as oras-go does (``internal/errutil``)."""

INSPECTED_CHARACTERS: Final = 8192
"""How much of any other text of a peer is looked at."""

SHOWN_CHARACTERS: Final = 500
"""How much of a text of a peer is kept for an error, a log or a screen."""

_TITLE: Final = re.compile(r"<title\b", re.IGNORECASE)
_TITLE_END: Final = re.compile(r"</title", re.IGNORECASE)
# Always matches to the end of what it has read: linear.
_UNSEEN: Final = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*>?", re.IGNORECASE | re.DOTALL)
# CPython's int() refuses more than 4,300 digits, and html.unescape() does not expect that; no character needs ten.
_LONG_REFERENCE: Final = re.compile(r"&#[xX]?[0-9a-fA-F]{10,};?")


def clean(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return what is kept of *text*: redacted, at most *limit* characters.

    Redacted before it is cut to its final length: half a URL no longer looks like one.
    """
    window = text
    if len(text) > INSPECTED_CHARACTERS:
        # Without the last word, which may be half a URL.
        window = text[:INSPECTED_CHARACTERS]
        window = window.rpartition(" ")[0] or window
    shown = redact(window)
    return shown if window is text and len(shown) <= limit else f"{shown[: limit - 3]}..."


def readable_excerpt(body: bytes) -> str:
    """Return what a person would read in *body*: a page's title and text, one line, bounded."""
    text = body[:MAX_ERROR_BODY_BYTES].decode("utf-8", "replace")
    if "<" in text:
        title, rest = _cut_title(text)
        seen = _UNSEEN.sub(" ", rest)
        text = html.unescape(_LONG_REFERENCE.sub("\ufffd", f"{title}: {seen}" if title else seen))
    return clean(" ".join(text.split()).removesuffix(":"))


def _cut_title(text: str) -> tuple[str, str]:
    """Return the title of a page, and the page without it."""
    # Searches one after the other: a single pattern would try each "<title" against the rest of the text.
    begin = _TITLE.search(text)
    start = text.find(">", begin.end()) + 1 if begin else 0
    end = _TITLE_END.search(text, start) if start else None
    if begin is None or end is None:
        return "", text
    return text[start : end.start()], f"{text[: begin.start()]} {text[end.start() :]}"
