"""An answer that is written as it comes, to a client that may read slowly, take nothing, or be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

from aiohttp import web

__all__ = ["TimedStream", "is_gone"]


class TimedStream:
    """A stream to one client. Every method raises ``ConnectionError`` when it is gone, or takes nothing.

    Args:
        request: The client's.
        headers: Of the answer.
        patience: Seconds that the client may take nothing; then it is hung up on.

    Attributes:
        response: What a handler returns.
    """

    def __init__(self, request: web.Request, headers: Mapping[str, str], patience: float) -> None:
        self.response = web.StreamResponse(headers=headers)
        self._request = request
        self._patience = patience

    async def begin(self) -> None:
        """Send the head."""
        if self._request.transport is not None:
            # Whoever waits for room then waits until all is gone: at the end nothing is left that nobody waits for.
            self._request.transport.set_write_buffer_limits(0)
        await self.response.prepare(self._request)

    async def write(self, data: bytes) -> None:
        """Write *data*."""
        await self._patiently(self.response.write(data))

    async def end(self) -> None:
        """End the stream, and wait until the system has taken all of it."""
        await self._patiently(self.response.write_eof())

    def require_reader(self) -> None:
        """Say whether the client is still there: while nothing is written, nothing else does."""
        if is_gone(self._request):
            raise ConnectionResetError("the client hung up")

    async def _patiently(self, writing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await writing
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()  # close() would wait for what is not taken
            raise ConnectionResetError("the client takes nothing") from None


def is_gone(request: web.Request) -> bool:
    """Say whether the client of *request* hung up."""
    return request.transport is None or request.transport.is_closing()
