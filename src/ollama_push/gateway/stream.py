"""A response that is written as it comes, to a client that may read slowly, take nothing, or be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiohttp import web

from ollama_push.gateway.connections import abort_unread, limit_writing

__all__ = ["TimedStream", "is_gone"]


class TimedStream:
    """A streamed response. Its block ends the stream, and ends early, without an error, when the client is gone.

    Args:
        request: The client's.
        headers: Of the response.
        stall_timeout: Time that the client may take nothing; then the connection is closed.
        status: Of the response.

    Attributes:
        response: What a handler returns.
    """

    def __init__(
        self, request: web.Request, headers: Mapping[str, str], stall_timeout: float, *, status: int = 200
    ) -> None:
        self.response: web.StreamResponse = web.StreamResponse(status=status, headers=headers)
        self._request = request
        self._stall_timeout = stall_timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if exc is not None:
            return isinstance(exc, ConnectionError)
        with suppress(ConnectionError):
            await self._within_time(self.response.write_eof())
        return False

    async def write(self, data: bytes | memoryview) -> None:
        """Write *data*, after the head if it is the first.

        Raises:
            ConnectionError: The client is gone, or takes nothing.
        """
        if not self.response.prepared:
            if self._request.transport is not None:
                # A limit of 0 has each write wait until the system has taken everything: at the end nothing is left
                # in a buffer that nobody waits for.
                self._request.transport.set_write_buffer_limits(0)
            limit_writing(self._request, self._stall_timeout)
            await self.response.prepare(self._request)
        await self._within_time(self.response.write(data))

    def require_reader(self) -> None:
        """Check that the client is still there: while nothing is written, nothing else notices.

        Raises:
            ConnectionError: It is gone.
        """
        if is_gone(self._request):
            raise ConnectionResetError("the client closed the connection")

    async def _within_time(self, writing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._stall_timeout):
                await writing
        except TimeoutError:
            if self._request.transport is not None:
                abort_unread(self._request.transport)  # close() would wait until the client has taken everything
            raise ConnectionResetError("the client takes nothing") from None


def is_gone(request: web.Request) -> bool:
    """Return whether the client of *request* closed the connection."""
    return request.transport is None or request.transport.is_closing()
