"""The event loop that async code of this package needs, that of asyncio, and a limit for waits in it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final

from ollama_push.core.errors import MachineMisuse

__all__ = ["SilenceLimit", "running_loop"]

_TURNS: Final = 3


def running_loop(user: object) -> asyncio.AbstractEventLoop:
    """Return the running event loop, which *user* needs.

    Raises:
        MachineMisuse: None of asyncio runs here.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        problem = (
            f"{type(user).__name__} needs the event loop of asyncio, which does not run here; under trio, use the sync"
            " client in trio.to_thread.run_sync, or trio-asyncio"
        )
    raise MachineMisuse(problem)


class SilenceLimit:
    """``asyncio.timeout`` for a wait for a peer, which ends first if the peer has sent something by then.

    A process that was stopped (SIGSTOP) for longer than the limit finds its timers due before it looks for what has
    arrived (epoll_wait ends with EINTR then, see signal(7)), and asyncio would end the wait. Here the loop gets some
    turns in between: it looks, tells who waits, and he leaves.

    Args:
        seconds: The limit; ``None`` to begin without one.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        if self._seconds is not None:
            self.begin(self._seconds)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        # This raises TimeoutError when the limit was exceeded.
        await self._scope.__aexit__(kind, exc, trace)

    def begin(self, seconds: float) -> None:
        """Begin to count *seconds*; does nothing when the wait is over."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._over:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def _end(self, turns: int = _TURNS) -> None:
        loop = asyncio.get_running_loop()
        if self._over:
            return
        if turns:
            loop.call_soon(self._end, turns - 1)
            return
        with suppress(RuntimeError):  # it has ended the wait already
            self._scope.reschedule(loop.time())
