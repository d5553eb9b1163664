"""A refused request as an exception that becomes an error response, and which names are not refused.

A valid name of a repository, tag or digest is safe as a path on disk.

Source: distribution-spec v1.1.1, "Error Codes", "Pulling manifests" (name, tag); image-spec v1.1, "Digests".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import attrs
from aiohttp import web

__all__ = ["Refused", "is_digest", "is_repository", "is_tag", "require_digest", "unknown_path_response"]

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}")
_MAX_REPOSITORY: Final = 255


@attrs.define(eq=False, slots=False)
class Refused(Exception):
    """The request is refused.

    Attributes:
        status: HTTP status.
        code: Error code of distribution-spec.
        message: Text for people.
        headers: Headers of the response.
        closes: Whether the connection is closed after the response.
    """

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = attrs.field(factory=dict)
    closes: bool = attrs.field(default=False, kw_only=True)

    def response(self, *, plain: bool) -> web.Response:
        """Return the error response, as text if *plain* and as JSON otherwise."""
        text, content_type = f"{self.message}\n", "text/plain"
        if not plain:
            text = json.dumps({"errors": [{"code": self.code, "message": self.message, "detail": None}]})
            content_type = "application/json"
        response = web.Response(status=self.status, text=text, content_type=content_type, headers=self.headers)
        if self.closes:
            response.force_close()
        return response


def unknown_path_response() -> web.Response:
    """Return what Go's HTTP server sends where no route fits."""
    return web.Response(status=404, text="404 page not found\n", headers={"X-Content-Type-Options": "nosniff"})


def is_repository(text: str) -> bool:
    """Say whether *text* can name a repository."""
    return len(text) <= _MAX_REPOSITORY and _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Say whether *text* can be a tag."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Say whether *text* is a digest we can hold: sha256, lower case."""
    return _DIGEST.fullmatch(text) is not None


def require_digest(text: str) -> None:
    """Refuse *text* unless it is a digest we can hold.

    Raises:
        Refused: 400 ``DIGEST_INVALID``.
    """
    if not is_digest(text):
        raise Refused(400, "DIGEST_INVALID", "provided digest is not a sha256 digest")
