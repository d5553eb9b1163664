"""A refused request: an exception that becomes an error response.

Source: distribution-spec v1.1.1, "Error Codes".
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

__all__ = ["Refused", "error_response", "unknown_path_response"]


class Refused(Exception):
    """The request is refused.

    Args:
        status: HTTP status.
        code: Error code of distribution-spec.
        message: Text for people.
        headers: Headers of the response.
        closes: Whether the connection is closed after the response.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None, *, closes: bool = False
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.closes = closes


def error_response(refused: Refused, *, plain: bool) -> web.Response:
    """Return the response that reports *refused*."""
    if plain:
        response = web.Response(status=refused.status, text=f"{refused.message}\n", headers=refused.headers)
    else:
        body = json.dumps({"errors": [{"code": refused.code, "message": refused.message, "detail": None}]})
        response = web.Response(
            status=refused.status, text=body, content_type="application/json", headers=refused.headers
        )
    if refused.closes:
        response.force_close()
    return response


def unknown_path_response() -> web.Response:
    """Return what Go's HTTP server sends where no route fits."""
    return web.Response(status=404, text="404 page not found\n", headers={"X-Content-Type-Options": "nosniff"})
