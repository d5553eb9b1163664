"""The root of the exception tree, and what all of it shares."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from ollama_push.core.events import PushEvent

__all__ = ["OllamaPushError", "plain_words", "shorten"]

_SHOWN: Final = 80
# As in: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)
_OPENSSL: Final = re.compile(r"\[(?:ssl|x509|pem)[^\]]*\] ?| ?\(_ssl\.c:\d+\)", re.IGNORECASE)


def shorten(value: object, limit: int = _SHOWN) -> str:
    """Return ``repr(value)``, cut to *limit* characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def plain_words(text: str) -> str:
    """Return *text* without the names and places in a source file that OpenSSL puts around its words."""
    return _OPENSSL.sub("", text)


@attrs.define(eq=False, slots=False)
class OllamaPushError(Exception):
    """Root of everything this package raises on purpose.

    Attributes:
        last_event: The last event seen before the failure, if any.
        attempts: How many times was tried what failed: the push through a server, or one request to a registry;
            0 when nothing was sent.
        bytes_moved: Bytes that moved in this push, as ``PushProgress.moved_bytes`` counts them: layers that were
            complete at first sight do not count, and bytes that were sent again count once.
    """

    last_event: PushEvent | None = attrs.field(default=None, init=False, repr=False)
    attempts: int = attrs.field(default=0, init=False, repr=False)
    bytes_moved: int = attrs.field(default=0, init=False, repr=False)
