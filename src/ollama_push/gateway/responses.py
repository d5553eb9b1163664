"""Reads a request's body within its limits, and builds the responses that are not streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ollama_push.gateway.go_json import encode_go

__all__ = ["RequestRefused", "json_response", "plain_response", "read_body"]

_GIN_JSON: Final = "application/json; charset=utf-8"
"""Content type of gin's own JSON responses (``c.JSON``)."""
_RETRY_AFTER_SECONDS: Final = "5"
"""Most pushes take longer, but one may end at any time."""


class RequestRefused(Exception):
    """A request is not carried out.

    Args:
        status: HTTP status.
        text: The error in the response.
    """

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status

    def response(self) -> web.Response:
        """Return what the client gets; with 503 it may ask again later."""
        headers = {"Retry-After": _RETRY_AFTER_SECONDS} if self.status is HTTPStatus.SERVICE_UNAVAILABLE else None
        return json_response(self.status, {"error": str(self)}, headers=headers)


async def read_body(request: web.Request, limit: int, seconds: float) -> bytes:
    """Return the whole body.

    Args:
        request: Its body is not read yet.
        limit: Largest size, in bytes.
        seconds: Time it may take to arrive.

    Raises:
        RequestRefused: It is too large (413), or too slow (408).
    """
    announced = request.content_length
    too_large = RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request's body is larger than {limit} bytes")
    if announced is not None and announced > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for data in request.content.iter_any():
                body += data
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        problem = f"the request's body did not arrive within {seconds:g} s"
        raise RequestRefused(HTTPStatus.REQUEST_TIMEOUT, problem) from None
    return bytes(body)


def json_response(
    status: int, value: object, *, content_type: str = _GIN_JSON, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return *value* as one JSON object with a length and without a newline; bytes are JSON already."""
    body = value if isinstance(value, bytes) else encode_go(value)
    return web.Response(status=status, body=body, headers={"Content-Type": content_type, **(headers or {})})


def plain_response(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return *text* as gin does: no charset."""
    return web.Response(status=status, body=text.encode(), headers={"Content-Type": "text/plain", **(headers or {})})
