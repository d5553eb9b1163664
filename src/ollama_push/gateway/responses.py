"""Reads a request's body within its limits, and builds the answers that are no stream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ollama_push.gateway.go_json import encode_go

__all__ = ["BodyRefused", "json_answer", "plain_answer", "read_body"]

_GIN_JSON: Final = "application/json; charset=utf-8"
"""What gin calls JSON when it answers by itself (``c.JSON``)."""


class BodyRefused(Exception):
    """The body is not taken.

    Args:
        status: HTTP status.
        text: Said in the answer.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def read_body(request: web.Request, limit: int, seconds: float) -> bytes:
    """Return the whole body.

    Args:
        request: Its body is not read yet.
        limit: Largest size, in bytes.
        seconds: Time it may take to arrive.

    Raises:
        BodyRefused: It is too large (413), or too slow (408).
    """
    announced = request.content_length
    too_large = BodyRefused(413, f"the request's body is larger than {limit} bytes")
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
        raise BodyRefused(408, f"the request's body did not arrive within {seconds:g} s") from None
    return bytes(body)


def json_answer(
    status: int, value: object, *, content_type: str = _GIN_JSON, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return *value* as one JSON object with a length and without a newline."""
    return web.Response(status=status, body=encode_go(value), headers={"Content-Type": content_type, **(headers or {})})


def plain_answer(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return *text* as gin does: no charset."""
    return web.Response(status=status, body=text.encode(), headers={"Content-Type": "text/plain", **(headers or {})})
