"""Takes secrets out of texts before they can reach an error, a log or a screen.

Server errors quote presigned storage URLs and whole HTML pages; a URL may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["HIDDEN", "hide_secret_headers", "is_secret_header", "is_secret_parameter", "redact"]

HIDDEN: Final = "<hidden>"

_SECRET_HEADERS: Final = re.compile(r"authorization|cookie|token|secret|password|api[-_]?key|signature", re.IGNORECASE)
_SECRET_PARAMETERS: Final = re.compile(
    r"signature|sig$|token|credential|secret|password|passwd|api_?key", re.IGNORECASE
)

# Every pattern below costs what reading the text costs: each either starts with a text that stands nowhere in what
# it goes on to match, or always matches what it has read. Order matters: URLs first, so that what is left is free text.

# user:password@ in a URL (RFC 3986, 3.2.1), up to the last @: a password may hold one.
_USERINFO: Final = re.compile(r"(?<=://)[^\s/?#\"'<>]+@")
# A URL from its authority on, or a path.
_URL: Final = re.compile(rf"(?:://(?:{HIDDEN}@)?|(?<![^\s\"'(=])/)[^\s\"'<>]*")
# A query, or a fragment, that carries a credential or signature: AWS, GCS, Azure, R2, token endpoints
_TELLTALE: Final = re.compile(
    r"x-amz-|x-goog-|signature|sig=|token|credential|secret|password|passwd|api_?key|nonce", re.IGNORECASE
)
_SECRETS: Final = (
    # Authorization values wherever they are quoted
    (
        re.compile(
            r"\b(?P<scheme>bearer|basic)(?P<gap>\s+)(?!realm\b|authenti|authori|challenge|credential)"
            r"(?:[A-Za-z0-9._~+/-]{8,}=*|[A-Za-z0-9+/]{2,7}={1,2})",
            re.IGNORECASE,
        ),
        rf"\g<scheme>\g<gap>{HIDDEN}",
    ),
    # key=value and "key": "value"
    (
        re.compile(
            r"(?P<key>[\"']?\b(?:password|passwd|secret|access_?token|refresh_?token|id_?token|api_?key|identitytoken"
            r"|x-amz-signature|x-amz-credential|x-amz-security-token)[\"']?\s*[=:]\s*)[\"']?[^\s\"'&,;}]+[\"']?",
            re.IGNORECASE,
        ),
        rf"\g<key>{HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """Return *text* without passwords, tokens, userinfo and the queries of presigned URLs; in linear time."""
    text = _URL.sub(_without_query, _USERINFO.sub(f"{HIDDEN}@", text))
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _without_query(found: re.Match[str]) -> str:
    url = found[0]
    start = min((at for at in (url.find("?"), url.find("#")) if at >= 0), default=len(url))
    return f"{url[: start + 1]}{HIDDEN}" if _TELLTALE.search(url, start) else url


def is_secret_header(name: str) -> bool:
    """Return whether a header of this *name* holds a secret."""
    return _SECRET_HEADERS.search(name) is not None


def is_secret_parameter(name: str) -> bool:
    """Return whether a parameter of a URL's query of this *name* holds a secret."""
    return _SECRET_PARAMETERS.search(name) is not None


def hide_secret_headers(headers: Mapping[str, str]) -> str:
    """Return a ``repr`` of *headers* in which credentials are hidden; for ``attrs.field(repr=...)``."""
    return repr({key: HIDDEN if is_secret_header(key) else redact(value) for key, value in headers.items()})
