"""Headers of requests: ours, a user's, and how the two are merged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.version import __version__

__all__ = ["USER_AGENT", "checked_headers", "is_header_name", "merged_headers"]

USER_AGENT: Final = f"ollama-push/{__version__}"

# RFC 9110, 5.6.2 (token) and 5.5 (field-content, here visible ASCII, spaces and tabs).
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# They frame the message: the transport's to set.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})


def is_header_name(text: str) -> bool:
    """Say whether *text* can be the name of a header (RFC 9110, 5.6.2)."""
    return _HEADER_NAME.fullmatch(text) is not None


def merged_headers(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers, names compared without case; later ones win."""
    merged = {key.lower(): (key, value) for layer in layers for key, value in layer.items()}
    return dict(merged.values())


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of a user's headers.

    Raises:
        InvalidSetting: A name or value cannot be sent, or frames the message. The value is not shown.
    """
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not is_header_name(name):
            raise InvalidSetting("headers", name, "this is no header name (RFC 9110, 5.6.2)")
        if name.lower() in _FRAMING:
            raise InvalidSetting("headers", name, "this header frames the message and is set by the transport")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidSetting("headers", name, "its value holds characters that no header can (RFC 9110, 5.5)")
    return dict(headers or {})
