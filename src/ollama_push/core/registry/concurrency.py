"""How many requests a registry bears at a time, as its refusals and its response times tell.

Pure: the clock is an argument, and whoever asks does the waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import BlobRequest, BufferedResponse

__all__ = ["ConcurrencyLimit", "ResponseTime", "is_brief", "kind_of_response"]

_SETTLE_SECONDS: Final = 1.0
"""Refusals that come together are one: they answer requests that were sent before the limit fell."""
_LATE_RATIO: Final = 2.5
"""So many times the least time is late. A limit that is halved then still keeps the registry busy: at 2.5 times the
least time, 2.5 times as many requests run as it works at (Little's law)."""
_LATE_SECONDS: Final = 0.25
"""Less than this above the least time is not worth acting: it may as well be this machine that is slow to look."""
_LEAST_SECONDS: Final = 0.001
_WINDOW: Final = 8
"""So many responses are judged together, by their median."""
_LATE_WINDOWS: Final = 2
_TRIAL_RESPONSES: Final = 200
_IMPROVED: Final = 0.75
"""Half the requests should halve the time; less than half of that is no improvement."""
_COMPARED: Final = frozenset({"GET", "HEAD", "POST"})
_KINDS: Final = ("manifests", "uploads", "blobs", "token")


def is_brief(request: HttpRequest) -> bool:
    """Return whether *request* takes no longer than the registry does: it moves no blob."""
    return request.method in _COMPARED and not len(request.body) and not isinstance(request, BlobRequest)


def kind_of_response(request: HttpRequest, response: object) -> Hashable | None:
    """Return what *response* may be compared with, by its time; ``None`` where its time says nothing.

    Only brief requests are compared: a body takes as long as it is large, and so does what a registry does at the end
    of an upload. What was found takes another time than what is missing.
    """
    if not isinstance(response, BufferedResponse) or not is_brief(request):
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
        beside: How many brief requests ran then, this one included.
    """

    kind: Hashable
    seconds: float
    began: float
    beside: int


@attrs.frozen
class _Judgement:
    """What a full window says.

    Attributes:
        median: The median of its times: neither those that had to connect first count, nor those that passed a line.
        ratio: It, as a multiple of the time to compare with.
        is_late: Whether that is late.
        beside: The most requests that ran beside one of them.
        alone: Whether one of them was the only request that ran: then it was not their number.
    """

    median: float
    ratio: float
    is_late: bool
    beside: int
    alone: bool


@attrs.define
class _Window:
    """The last responses of one kind.

    Attributes:
        least: The time to compare with: the least of all, or of the medians.
        is_typical: Whether it is one of medians, because the least time of all has turned out to be an exception.
        late: How many full windows in a row were late. In the first a line may still grow, or shrink.
    """

    least: float
    is_typical: bool = False
    late: int = 0
    _times: list[ResponseTime] = attrs.field(factory=list)

    def is_late(self, seconds: float) -> bool:
        """Return whether so many seconds are late."""
        return seconds > _LATE_RATIO * self.least and seconds > self.least + _LATE_SECONDS

    def receive(self, time: ResponseTime) -> _Judgement | None:
        """Take *time*; return what the window says when it is full, and begin the next one."""
        if not self.is_typical:
            self.least = min(self.least, max(time.seconds, _LEAST_SECONDS))
        self._times.append(time)
        if len(self._times) < _WINDOW:
            return None
        times, self._times = self._times, []
        middle = sorted(each.seconds for each in times)[_WINDOW // 2]
        if self.is_typical:
            self.least = min(self.least, max(middle, _LEAST_SECONDS))
        beside = [each.beside for each in times]
        is_late = self.is_late(middle)
        self.late = self.late + 1 if is_late else 0
        return _Judgement(middle, middle / self.least, is_late, max(beside), min(beside) == 1)

    def clear(self) -> None:
        """Begin again."""
        self._times, self.late = [], 0


@attrs.define
class _Trial:
    """A limit that was lowered because responses were late, to see whether that helps; it does not grow meanwhile.

    Attributes:
        kind: Of the responses.
        ratio: How late they were.
        limit: What it was.
        left: Responses of any kind until it ends.
    """

    kind: Hashable
    ratio: float
    limit: float
    left: int = _TRIAL_RESPONSES


@attrs.define(eq=False)
class ConcurrencyLimit:
    """How many requests a registry bears at a time: one more for each round, half after a refusal or late responses.

    Refusals limit all requests. Late responses limit the brief ones: a part of a blob may take hours, and who waits
    for its end would wait as long. Responses are late when the median of many is several times the least time of their
    kind, twice in a row. Where half as many requests take as long, it was not their number: the limit is what it was,
    and later medians are compared with that one.

    Source: additive increase, multiplicative decrease, RFC 5681, 3.1; delay as the sign of a queue, Brakmo and
    Peterson, "TCP Vegas", IEEE JSAC 13 (8), 1995.

    Args:
        most: The limits to begin with, and never to exceed.
        clock: Monotonic seconds.
    """

    most: int
    _clock: Callable[[], float]
    _limit: float = attrs.field(init=False)
    _brief_limit: float = attrs.field(init=False)
    _running: int = attrs.field(default=0, init=False)
    _brief: int = attrs.field(default=0, init=False)
    _settled_at: float = attrs.field(default=0.0, init=False)
    _lowered_at: float = attrs.field(default=0.0, init=False)
    _windows: dict[Hashable, _Window] = attrs.field(factory=dict, init=False)
    _trial: _Trial | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._limit = self._brief_limit = float(self.most)
        self._settled_at = self._lowered_at = self._clock()

    @property
    def limit(self) -> int:
        """How many requests may run now, at least one."""
        return int(self._limit)

    @property
    def brief_limit(self) -> int:
        """How many of them may be brief, at least one."""
        return int(min(self._limit, self._brief_limit))

    @property
    def running(self) -> int:
        """How many requests run."""
        return self._running

    @property
    def brief(self) -> int:
        """How many of them are brief."""
        return self._brief

    @property
    def kinds(self) -> frozenset[Hashable]:
        """The kinds of responses whose times are compared."""
        return frozenset(self._windows)

    def has_room(self, *, brief: bool = True, beside: int = 0, brief_beside: int = 0) -> bool:
        """Whether one more may run, beside those that run and so many others, of which some are brief."""
        return self._running + beside < self.limit and not (brief and self._brief + brief_beside >= self.brief_limit)

    def begin(self, *, brief: bool = True) -> bool:
        """Begin a request, if one more may run."""
        if not self.has_room(brief=brief):
            return False
        self._running += 1
        self._brief += brief
        return True

    def end(self, *, refused: bool, brief: bool = True, time: ResponseTime | None = None) -> None:
        """End a request.

        Args:
            refused: The registry says that it has too many (429, 503).
            brief: As it was begun.
            time: How long its response took; ``None`` where that says nothing.
        """
        self._running -= 1
        self._brief -= brief
        if not refused:
            self._limit = self._raised(self._limit)
        elif self._clock() >= self._settled_at:
            self._limit = self._halved(self._limit, self._running + 1)
            self._settled_at = self._clock() + _SETTLE_SECONDS
        if brief:
            is_late = time is not None and self._is_late(time)
            if not refused and not is_late and self._trial is None:
                self._brief_limit = self._raised(self._brief_limit)
            self._pass_time_of_trial()

    def _pass_time_of_trial(self) -> None:
        """Count a response; a trial whose kind does not come any more ends without a result."""
        if self._trial is not None:
            self._trial.left -= 1
            if not self._trial.left:
                self._trial = None

    def _raised(self, limit: float) -> float:
        return min(float(self.most), limit + 1.0 / limit)

    @staticmethod
    def _halved(limit: float, ran: int) -> float:
        # Half of what ran: a limit that nobody had reached says nothing (RFC 5681, 3.1, FlightSize).
        return max(1.0, min(limit, float(ran)) / 2)

    def _is_late(self, time: ResponseTime) -> bool:
        """Return whether *time* is late, and do what follows from many late ones."""
        if time.began < self._lowered_at:
            return True  # sent under the limit before
        window = self._windows.setdefault(time.kind, _Window(max(time.seconds, _LEAST_SECONDS)))
        is_late = window.is_late(time.seconds)
        said = window.receive(time)
        if said is not None and not self._undo(time.kind, window, said):
            self._lower(time.kind, window, said)
        return is_late

    def _undo(self, kind: Hashable, window: _Window, said: _Judgement) -> bool:
        """End a trial with what *window* says; return whether it was in vain, and the limit is what it was."""
        trial = self._trial
        if trial is None or trial.kind != kind or window.late == 1:
            return False
        self._trial = None
        if not said.is_late or said.ratio <= _IMPROVED * trial.ratio:
            return False
        self._brief_limit = max(self._brief_limit, trial.limit)
        # Others were measured before it became like that.
        self._windows = {kind: _Window(max(said.median, _LEAST_SECONDS), is_typical=True)}
        return True

    def _lower(self, kind: Hashable, window: _Window, said: _Judgement) -> None:
        """Halve the limit for a trial, if *window* was late twice."""
        if window.late < _LATE_WINDOWS or said.alone:
            return
        self._trial = _Trial(kind, said.ratio, self._brief_limit)
        self._lowered_at = self._clock()
        self._brief_limit = self._halved(self._brief_limit, said.beside)
        for each in self._windows.values():
            each.clear()
