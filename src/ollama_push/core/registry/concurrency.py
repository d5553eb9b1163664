"""How many requests a registry bears at a time, as its refusals and its response times tell.

Pure: the clock is an argument, and whoever asks does the waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import BufferedResponse, StreamedResponse

__all__ = ["ConcurrencyLimit", "ResponseTime", "kind_of_response"]

_SETTLE_SECONDS: Final = 1.0
"""Refusals that come together are one: they answer requests that were sent before the limit fell."""
_LATE_RATIO: Final = 2.5
"""So many times the least time is late. A limit that is halved then still keeps the registry busy: at 2.5 times the
least time, 2.5 times as many requests run as it works at (Little's law)."""
_LATE_SECONDS: Final = 0.05
"""Less than this above the least time is not worth acting."""
_LEAST_SECONDS: Final = 0.001
_WINDOW: Final = 8
"""So many late responses in a row: one that had to connect first, and was late for that, says nothing."""
_IMPROVED: Final = 0.75
"""Half the requests should halve the time; less than half of that is no improvement."""
_COMPARED: Final = frozenset({"GET", "HEAD", "POST"})
_KINDS: Final = ("manifests", "uploads", "blobs", "token")


def kind_of_response(request: HttpRequest, response: object) -> Hashable | None:
    """Return what *response* may be compared with, by its time; ``None`` where its time says nothing.

    Only requests without a body are compared: a body takes as long as it is large, and so does what a registry does
    at the end of an upload. What was found takes another time than what is missing.
    """
    if not isinstance(response, BufferedResponse) or isinstance(response, StreamedResponse):
        return None
    if request.method not in _COMPARED or len(request.body):
        return None
    parts = urlsplit(request.url)
    kind = next((kind for kind in _KINDS if f"/{kind}" in parts.path), "")
    return request.method, kind, "mount=" in parts.query, response.status


@attrs.frozen
class ResponseTime:
    """How long a response took.

    Attributes:
        kind: What it may be compared with.
        seconds: From the request to the end of the response.
        began: When the request was sent.
        beside: How many requests ran then, this one included.
    """

    kind: Hashable
    seconds: float
    began: float
    beside: int


@attrs.define
class _Window:
    """The last responses of one kind, all of them late.

    Attributes:
        least: The least time of all.
        since: When the first of them came; ``None`` when the last response was not late.
        late: How many of them were asked for since: in those before, a line may still grow.
        ratio: The least time of those, as a multiple.
        beside: The most requests that ran beside one of them.
        alone: Whether one of them was the only request that ran: then it is not their number.
    """

    least: float
    since: float | None = None
    late: int = 0
    ratio: float = 0.0
    beside: int = 0
    alone: bool = False

    def receive(self, time: ResponseTime) -> bool:
        """Take *time*; return whether it was late."""
        self.least = min(self.least, max(time.seconds, _LEAST_SECONDS))
        if time.seconds <= _LATE_RATIO * self.least or time.seconds <= self.least + _LATE_SECONDS:
            self.clear()
            return False
        if self.since is None:
            self.since = time.began + time.seconds
        if time.began >= self.since:
            ratio = time.seconds / self.least
            self.ratio = min(self.ratio, ratio) if self.late else ratio
            self.late += 1
            self.beside = max(self.beside, time.beside)
            self.alone = self.alone or time.beside == 1
        return True

    @property
    def is_full(self) -> bool:
        """Whether that many cannot be chance."""
        return self.late >= _WINDOW

    def clear(self) -> None:
        """Forget those that were late."""
        self.since, self.late, self.beside, self.alone = None, 0, 0, False


@attrs.frozen
class _Trial:
    """A limit that was lowered because responses were late, to see whether that helps.

    Attributes:
        kind: Of the responses.
        ratio: How late they were.
        limit: What it was.
    """

    kind: Hashable
    ratio: float
    limit: float


@attrs.define(eq=False)
class ConcurrencyLimit:
    """How many requests a registry bears at a time: one more for each round, half after a refusal or late responses.

    Responses are late when many in a row take several times the least time of their kind. Where half as many requests
    take as long, it was not their number: the limit is what it was, and that time is the least one from then on.

    Source: additive increase, multiplicative decrease, RFC 5681, 3.1; delay as the sign of a queue, Brakmo and
    Peterson, "TCP Vegas", IEEE JSAC 13 (8), 1995.

    Args:
        most: The limit to begin with, and never to exceed.
        clock: Monotonic seconds.
    """

    most: int
    _clock: Callable[[], float]
    _limit: float = attrs.field(init=False)
    _running: int = attrs.field(default=0, init=False)
    _settled_at: float = attrs.field(default=0.0, init=False)
    _lowered_at: float = attrs.field(default=0.0, init=False)
    _windows: dict[Hashable, _Window] = attrs.field(factory=dict, init=False)
    _trial: _Trial | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._limit = float(self.most)
        self._settled_at = self._lowered_at = self._clock()

    @property
    def limit(self) -> int:
        """How many requests may run now, at least one."""
        return int(self._limit)

    @property
    def running(self) -> int:
        """How many requests run."""
        return self._running

    @property
    def has_room(self) -> bool:
        """Whether one more may run."""
        return self._running < self.limit

    def begin(self) -> bool:
        """Begin a request, if one more may run."""
        if not self.has_room:
            return False
        self._running += 1
        return True

    def end(self, *, refused: bool, time: ResponseTime | None = None) -> None:
        """End a request.

        Args:
            refused: The registry says that it has too many (429, 503).
            time: How long its response took; ``None`` where that says nothing.
        """
        self._running -= 1
        if refused:
            if self._clock() >= self._settled_at:
                self._halve(self._running + 1)
                self._settled_at = self._clock() + _SETTLE_SECONDS
        elif time is None or not self._is_late(time):
            self._limit = min(float(self.most), self._limit + 1.0 / self._limit)

    def _halve(self, ran: int) -> None:
        # Half of what ran: a limit that nobody had reached says nothing (RFC 5681, 3.1, FlightSize).
        self._limit = max(1.0, min(self._limit, float(ran)) / 2)

    def _is_late(self, time: ResponseTime) -> bool:
        """Return whether *time* is late, and do what follows from many late ones."""
        window = self._windows.setdefault(time.kind, _Window(max(time.seconds, _LEAST_SECONDS)))
        if time.began < self._lowered_at:
            return True  # sent under the limit before
        was_late = window.receive(time)
        trial = self._trial
        if trial is not None and trial.kind == time.kind and (not was_late or window.is_full):
            self._trial = None
            if was_late and window.ratio > _IMPROVED * trial.ratio:
                self._limit = max(self._limit, trial.limit)
                self._windows.clear()
                return True
        if was_late and window.is_full and not window.alone:
            self._trial = _Trial(time.kind, window.ratio, self._limit)
            self._lowered_at = self._clock()
            self._halve(window.beside)
            for each in self._windows.values():
                each.clear()
        return was_late
