"""The end of a gateway, in two steps: pushes are interrupted when it begins, and cancelled when their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

__all__ = ["CancelledByShutdown", "Shutdown"]


class CancelledByShutdown(Exception):
    """The gateway shuts down, and a block of work was cancelled or did not begin."""


class Shutdown:
    """Knows whether the gateway shuts down, and cancels work that does not end in time. Belongs to one event loop.

    Args:
        grace_seconds: Time that an interrupted push gets to reach its next safe point.

    Attributes:
        has_begun: Whether ``begin`` was called.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.has_begun: bool = False
        self._grace_seconds = grace_seconds
        self._seconds_of: dict[asyncio.Timeout, float] = {}

    def begin(self) -> None:
        """Let the time of every block that runs begin to count; no other block begins from now on. Idempotent."""
        if self.has_begun:
            return
        self.has_begun = True
        now = asyncio.get_running_loop().time()
        for timeout, seconds in self._seconds_of.items():
            timeout.reschedule(now + seconds)

    def cancels_at_once(self) -> AbstractAsyncContextManager[None]:
        """Return a block that the shutdown cancels as soon as it begins.

        Raises:
            CancelledByShutdown: From the block, also instead of its beginning.
        """
        return self._cancels_after(0.0)

    def cancels_after_grace(self) -> AbstractAsyncContextManager[None]:
        """Return a block that the shutdown cancels when the grace is over.

        Raises:
            CancelledByShutdown: From the block; also instead of its beginning once the shutdown has begun.
        """
        return self._cancels_after(self._grace_seconds)

    @asynccontextmanager
    async def _cancels_after(self, seconds: float) -> AsyncIterator[None]:
        if self.has_begun:
            raise CancelledByShutdown
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                self._seconds_of[timeout] = seconds
                try:
                    yield
                finally:
                    del self._seconds_of[timeout]
        except TimeoutError:
            if not timeout.expired():
                raise  # a timeout of the block itself
            raise CancelledByShutdown from None
