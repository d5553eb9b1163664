"""The registry's no: an exception that becomes an answer.

Source: distribution-spec v1.1.1, "Error Codes".
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

__all__ = ["Refused", "error_answer", "text_404"]


class Refused(Exception):
    """The request is refused.

    Args:
        status: HTTP status.
        code: Error code of the spec.
        message: For people.
        headers: Of the answer.
        closes: Close the connection after the answer.
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


def error_answer(refused: Refused, *, plain: bool) -> web.Response:
    """Return the answer that says *refused*."""
    if plain:
        answer = web.Response(status=refused.status, text=f"{refused.message}\n", headers=refused.headers)
    else:
        body = json.dumps({"errors": [{"code": refused.code, "message": refused.message, "detail": None}]})
        answer = web.Response(
            status=refused.status, text=body, content_type="application/json", headers=refused.headers
        )
    if refused.closes:
        answer.force_close()
    return answer


def text_404() -> web.Response:
    """Return what Go's HTTP server says where no route fits."""
    return web.Response(status=404, text="404 page not found\n", headers={"X-Content-Type-Options": "nosniff"})
