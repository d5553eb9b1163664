"""A refused request: an exception that becomes an error response.

Source: distribution-spec v1.1.1, "Error Codes".
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs
from aiohttp import web

__all__ = ["Refused", "unknown_path_response"]


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
