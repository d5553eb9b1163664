"""What all pushes of a client know together of the registries whose guests they are. Neither sync nor async."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.errors import ConnectFailed, TransportError
from ollama_push.core.observations import PauseReason
from ollama_push.core.registry.guest import CircuitBreaker, ConcurrencyLimit, TokenBucket
from ollama_push.core.responses import BufferedResponse, is_unread
from ollama_push.core.retry import TRANSIENT_STATUSES

__all__ = ["POLL_SECONDS", "QUIET_SECONDS", "AsyncPacedBody", "Guest", "PacedBody"]

POLL_SECONDS: Final = 0.1
"""How long a request that waits for its turn may take to notice that it has come, or that the push is to end."""
QUIET_SECONDS: Final = 30.0
"""The most that one push waits for a registry to get well, all its requests together: then its verdict is due."""
_MOST: Final = 1024
_FAILED: Final = 500
_TOO_MANY: Final = frozenset({429, 503})
_ILL: Final = frozenset(status for status in TRANSIENT_STATUSES if status >= 500)  # noqa: PLR2004 - server errors


@attrs.define(eq=False)
class _Registry:
    limit: ConcurrencyLimit
    breaker: CircuitBreaker


class Guest:
    """The rate, and for each registry how many requests it bears, and whether it is ill. Safe with several threads.

    Args:
        max_bytes_per_second: Of all bodies together; ``None`` for no limit.
        clock: Monotonic seconds.
        random: Random numbers, 0.0 to 1.0.
    """

    def __init__(
        self,
        max_bytes_per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._rate = max_bytes_per_second
        self._clock = clock
        self._random = random
        self._guard = threading.Lock()
        self._bucket = None if max_bytes_per_second is None else TokenBucket(max_bytes_per_second, clock)
        self._registries: dict[str, _Registry] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process counts for itself.
        return Guest, (self._rate,)

    @property
    def piece_bytes(self) -> int | None:
        """How much of a body is best sent at a time; ``None`` without a limit of the rate."""
        return None if self._bucket is None else self._bucket.piece_bytes

    def take(self, count: int) -> float:
        """Announce *count* bytes; return the seconds to wait before they are sent."""
        if self._bucket is None:
            return 0.0
        with self._guard:
            return self._bucket.take(count)

    def begin(self, url: str, *, quiet: float = 0.0) -> tuple[PauseReason, float] | None:
        """Begin a request to *url*, to be ended with ``end``; or say why to wait, and for how many seconds.

        Args:
            url: Of the request.
            quiet: Seconds for which its push has waited for the registry to get well.
        """
        with self._guard:
            registry = self._of(url)
            if not registry.limit.begin():
                return PauseReason.CONCURRENCY, POLL_SECONDS
            if quiet < QUIET_SECONDS and (seconds := registry.breaker.wait()) > 0:
                registry.limit.end(refused=False)
                return PauseReason.BREAKER, seconds
        return None

    def end(self, url: str, result: object, method: str = "") -> None:
        """End a request with its response or error; anything else is a request that was not sent to its end.

        A 500 to a ``HEAD`` may be about that question alone, which only saves work: it does not make a registry ill.
        """
        with self._guard:
            registry = self._of(url)
            status = result.status if isinstance(result, BufferedResponse) else None
            registry.limit.end(refused=status in _TOO_MANY)
            # A registry that was never reached fails a push at once, and one that is busy says how long it is.
            # One that closes connections in between is well.
            is_lost = isinstance(result, TransportError) and not isinstance(result, ConnectFailed)
            is_lost = is_lost and not is_unread(result)
            if (method, status) == ("HEAD", _FAILED):
                registry.breaker.abandoned()
            elif is_lost or (status in _ILL and status not in _TOO_MANY):
                registry.breaker.failed()
            elif status is not None:
                registry.breaker.succeeded()
            else:
                registry.breaker.abandoned()

    def _of(self, url: str) -> _Registry:
        host = urlsplit(url).netloc
        if host not in self._registries:
            limit = ConcurrencyLimit(_MOST, self._clock)
            self._registries[host] = _Registry(limit, CircuitBreaker(self._clock, self._random))
        return self._registries[host]


class PacedBody:
    """A body that is sent no faster than allowed (``core.ports.SizedBody``).

    Args:
        body: The body.
        guest: Says how long to wait.
        ended: Asked while waiting; the body itself raises what it means.

    Attributes:
        waited: Seconds that were waited so far.
    """

    def __init__(self, body: Any, guest: Guest, ended: Callable[[], bool]) -> None:
        self._body = body
        self._guest = guest
        self._ended = ended
        self.waited: float = 0.0

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for buffer in self._body:
            for piece in _cut(buffer, self._guest.piece_bytes):
                seconds = self._guest.take(len(piece))
                self.waited += seconds
                due = time.monotonic() + seconds
                while (left := due - time.monotonic()) > 0 and not self._ended():
                    time.sleep(min(left, POLL_SECONDS))
                yield piece


class AsyncPacedBody:
    """A body that is sent no faster than allowed (``core.ports.AsyncSizedBody``).

    Args:
        pieces: Yields the buffers of the body, each time anew.
        size: Bytes of the body.
        guest: Says how long to wait.
        sleep: Waits so many seconds.

    Attributes:
        waited: Seconds that were waited so far.
    """

    def __init__(self, pieces: Callable[[], Any], size: int, guest: Guest, sleep: Callable[[float], Any]) -> None:
        self._pieces = pieces
        self._size = size
        self._guest = guest
        self._sleep = sleep
        self.waited: float = 0.0

    def __len__(self) -> int:
        return self._size

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        async with aclosing(self._pieces()) as buffers:
            async for buffer in buffers:
                for piece in _cut(buffer, self._guest.piece_bytes):
                    seconds = self._guest.take(len(piece))
                    self.waited += seconds
                    if seconds > 0:
                        await self._sleep(seconds)
                    yield piece


def _cut(buffer: bytes | memoryview, size: int | None) -> Iterator[bytes | memoryview]:
    if size is None or len(buffer) <= size:
        yield buffer
        return
    for start in range(0, len(buffer), size):
        yield buffer[start : start + size]
