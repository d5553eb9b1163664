"""Simulates a fleet that pushes to one registry, which slows down, fails, and comes back.

``python -m bench.fleet [--write]``. No clock runs and nothing is sent: events in a heap drive the very parts of the
core that decide when a real client sends a request (``RetryPolicy``, ``ConcurrencyLimit``, ``CircuitBreaker``,
``Patience``, and the steps of ``core.registry.breaker``, for one machine alone or for all of them).
The same seed gives the same figures.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from ollama_push.core.errors import ServerError
from ollama_push.core.registry.breaker import CLOSED, BreakerState, BreakerStep, look, take_probe
from ollama_push.core.registry.concurrency import ConcurrencyLimit, ResponseTime
from ollama_push.core.registry.guest import ASK_AGAIN_SECONDS, CircuitBreaker, Patience, health_told_by
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.retry import RetryPolicy

__all__ = ["FIXED", "OURS", "SHARING", "Client", "Figures", "Weather", "figures_of", "simulate"]

_ROOT: Final = Path(__file__).parents[1]
_REQUESTS: Final = 15
"""Of one push of a model with five layers, verified (bench/README.md, "Many small models")."""
_JOBS: Final = 2
_PATIENCE_SECONDS: Final = 30.0
"""As ``ollama_push.client`` has it: a push that has waited so long for an ill registry goes on for its verdict."""
_POLL_SECONDS: Final = 0.1
_BEGIN: Final = "<!-- simulated -->\n"
_END: Final = "<!-- end of the simulation -->"


@attrs.frozen
class Weather:
    """What happens to the registry, in seconds since the fleet begins.

    Attributes:
        places: Requests that it serves at the same time; as many wait, and every other one is refused with 503.
        service: Seconds of one request.
        slow: From when to when a request takes ten times as long.
        down: From when to when every request is answered 500 at once.
    """

    places: int = 50
    service: float = 0.1
    slow: tuple[float, float] = (20.0, 50.0)
    down: tuple[float, float] = (60.0, 180.0)


@attrs.frozen
class Client:
    """How a client behaves.

    Attributes:
        label: What it is.
        retry: When it sends a request again.
        is_guest: Whether it limits its requests and leaves an ill registry alone.
        jitters: Whether its waits differ from those of others.
        shares: Whether all machines share what they know of the registry.
    """

    label: str
    retry: RetryPolicy
    is_guest: bool
    jitters: bool
    shares: bool = False


OURS: Final = Client("ours, each machine alone", RetryPolicy(attempts=21), is_guest=True, jitters=True)
SHARING: Final = attrs.evolve(OURS, label="ours, with a shared Redis", shares=True)
FIXED: Final = Client(
    "every second again", RetryPolicy(attempts=100_000, base=1.0, cap=1.0), is_guest=False, jitters=False
)


@attrs.define
class Figures:
    """What came of it.

    Attributes:
        label: Of the client.
        models: How many were to be pushed.
        pushed: How many arrived.
        per_second: Requests that the registry saw, by second.
        drained: When the last push ended.
        needed: Requests that would have been enough.
    """

    label: str
    models: int
    pushed: int
    per_second: list[int]
    drained: float
    needed: int

    @property
    def requests(self) -> int:
        """How many requests the registry saw."""
        return sum(self.per_second)

    def most_between(self, begin: float, end: float) -> int:
        """Return the most requests of a second in that time."""
        return max(self.per_second[int(begin) : int(end)] or [0])


class _Fleet:
    """Machines, a registry, and a heap of what happens next."""

    def __init__(self, client: Client, weather: Weather, machines: int, models: int, seed: int) -> None:
        self.now = 0.0
        self.weather = weather
        self.client = client
        self.random = random.Random(seed)
        self.seen: Counter[int] = Counter()
        self.pushed = 0
        self.served = 0
        self.known: BreakerState = CLOSED
        self.queue: list[Callable[[], None]] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        share, rest = divmod(models, machines)
        self.machines = [_Machine(self, share + (number < rest), number) for number in range(machines)]

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Have *action* done in so many seconds."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), action))

    def run(self) -> None:
        """Let everything happen."""
        for machine in self.machines:
            # As cron starts them: within a second of each other.
            self.at(self.random.random(), machine.begin)
        while self._heap:
            self.now, _, action = heapq.heappop(self._heap)
            action()

    def receive(self, answer: Callable[[int], None]) -> None:
        """Take a request at the registry; *answer* is called with its status."""
        self.seen[int(self.now)] += 1
        begin, end = self.weather.down
        if begin <= self.now < end:
            self.at(0.005, lambda: answer(500))
        elif self.served < self.weather.places:
            self._serve(answer)
        elif len(self.queue) < self.weather.places:
            self.queue.append(lambda: self._serve(answer))
        else:
            self.at(0.005, lambda: answer(503))

    def _serve(self, answer: Callable[[int], None]) -> None:
        self.served += 1
        begin, end = self.weather.slow
        factor = 10 if begin <= self.now < end else 1

        def done() -> None:
            self.served -= 1
            if self.queue:
                self.queue.pop(0)()
            answer(200)

        self.at(self.weather.service * factor * (0.5 + self.random.random()), done)


@attrs.define(eq=False)
class _Push:
    """One push: requests that are left, failures of the one under way, and how long it waits for an ill registry."""

    left: int
    patience: Patience
    failures: int = 0
    waits: bool = False

    def wait(self, *, begins: bool) -> None:
        """Begin to wait, or end it."""
        if begins != self.waits:
            self.waits = begins
            (self.patience.begin if begins else self.patience.end)()


class _Machine:
    """One machine, with what its pushes know together: the twin of ``ollama_push.client._guest.Guest``."""

    def __init__(self, fleet: _Fleet, models: int, number: int) -> None:
        self._fleet = fleet
        self._models = models
        self._limit = ConcurrencyLimit(1024, self._clock)
        self._breaker = CircuitBreaker(f"machine {number}", fleet.random.random)
        self._known = CLOSED
        self._asked_at = -ASK_AGAIN_SECONDS
        self._in_doubt = False
        self._trier: _Push | None = None

    def begin(self) -> None:
        """Begin as many pushes as run at a time."""
        for _ in range(_JOBS):
            self._next_push()

    def _clock(self) -> float:
        return self._fleet.now

    def _next_push(self) -> None:
        """Begin the next push, if there is one."""
        if self._models:
            self._models -= 1
            self._look_again()
            self._send(_Push(_REQUESTS, Patience(_PATIENCE_SECONDS, self._clock)))

    def _take(self, step: BreakerStep) -> None:
        """Take a step on what is known, here or for all machines."""
        if self._fleet.client.shares:
            self._asked_at, self._in_doubt = self._fleet.now, False
            self._fleet.known = step(self._fleet.known, self._fleet.now)
            self._known = self._fleet.known
        else:
            self._known = step(self._known, self._fleet.now)

    def _look_again(self) -> None:
        """Look what others know, unless that was a moment ago."""
        if self._fleet.now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._take(look)

    def _send(self, push: _Push) -> None:
        """Send a request of *push*, or wait until the registry bears it."""
        fleet = self._fleet
        if fleet.client.is_guest:
            if not self._limit.has_room():
                fleet.at(_POLL_SECONDS, lambda: self._send(push))
                return
            if (wait := self._seconds_left(push)) > 0:
                push.wait(begins=True)
                fleet.at(min(wait, _POLL_SECONDS), lambda: self._send(push))
                return
            push.wait(begins=False)
            self._limit.begin()
        began, beside = fleet.now, self._limit.brief
        fleet.receive(lambda status: self._receive(status, push, began, beside))

    def _seconds_left(self, push: _Push) -> float:
        if self._in_doubt:
            self._look_again()
        if not self._known.is_open or push.patience.left <= 0:
            return 0.0
        seconds = self._breaker.seconds_left(self._known, self._fleet.now)
        if seconds <= 0 and self._trier is None:
            self._take(take_probe(self._breaker.who))
            if self._known.prober == self._breaker.who:
                self._trier = push
                return 0.0
            return self._seconds_left(push)
        if self._known.is_probed(self._fleet.now):
            self._look_again()
        return max(seconds, _POLL_SECONDS)

    def _receive(self, status: int, push: _Push, began: float, beside: int) -> None:
        fleet = self._fleet
        if fleet.client.is_guest:
            time = ResponseTime(status, fleet.now - began, began, beside)
            self._limit.end(refused=status == 503, time=time)
            tries, self._trier = self._trier is push, None if self._trier is push else self._trier
            outcome = health_told_by(BufferedResponse(status, {}, b""), tries=tries)
            self._in_doubt = status != 200 or self._in_doubt
            step = self._breaker.ended(outcome, self._known, tries=tries)
            if step is not None:
                self._take(step)
        if status == 200:
            push.left, push.failures = push.left - 1, 0
            if push.left:
                self._send(push)
            else:
                fleet.pushed += 1
                self._next_push()
            return
        jitter = fleet.random.random() if fleet.client.jitters else 1.0
        push.failures += 1
        wait = fleet.client.retry.wait_after(ServerError(status, ""), push.failures, reached=True, random=jitter)
        if wait is None:
            self._next_push()  # its verdict is a failure
        else:
            fleet.at(wait, lambda: self._send(push))


def simulate(
    client: Client, *, machines: int = 1000, models: int = 10_000, weather: Weather = Weather(), seed: int = 17
) -> Figures:
    """Push *models* from *machines* that begin within a second, and return what came of it."""
    fleet = _Fleet(client, weather, machines, models, seed)
    fleet.run()
    per_second = [fleet.seen[second] for second in range(max(fleet.seen) + 1)]
    return Figures(client.label, models, fleet.pushed, per_second, fleet.now, models * _REQUESTS)


def figures_of(results: list[Figures], weather: Weather = Weather()) -> str:
    """Return the table of the page."""
    down = weather.down
    labels = " | ".join(each.label for each in results)
    lines = [f"| | {labels} |", "|---|" + "---|" * len(results)]
    rows: list[tuple[str, Callable[[Figures], str]]] = [
        ("models that arrived", lambda each: f"{each.pushed:,} of {each.models:,}"),
        ("requests that the registry saw, to those needed", lambda each: f"{each.requests / each.needed:.2f}"),
        ("most requests in a second before the failure", lambda each: f"{each.most_between(0, down[0]):,}"),
        (
            "in the first half minute of the failure, after two seconds",
            lambda each: f"{sum(each.per_second[int(down[0]) + 2 : int(down[0]) + 30]):,}",
        ),
        (
            "most in a second while it failed, after ten seconds",
            lambda each: f"{each.most_between(down[0] + 10, down[1]):,}",
        ),
        ("most in the minute after it", lambda each: f"{each.most_between(down[1], down[1] + 60):,}"),
        ("all done after", lambda each: f"{each.drained:.0f} s"),
    ]
    lines += [f"| {name} | {' | '.join(map(show, results))} |" for name, show in rows]
    return "\n".join(lines)


def _picture(results: list[Figures], weather: Weather = Weather()) -> str:
    """Return the plot: requests in each second."""
    width, height, left, bottom = 860, 320, 60, 40
    seconds = max(len(each.per_second) for each in results)
    most = max(max(each.per_second) for each in results)

    def x(second: float) -> float:
        return left + second / seconds * (width - left - 20)

    def y(count: float) -> float:
        return height - bottom - count / most * (height - bottom - 50)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-size="12">',
        "<title>Requests that the registry sees in each second</title>",
        "<style>text { font-family: sans-serif; }</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for (begin, end), colour, word in ((weather.slow, "#fff3d6", "slow"), (weather.down, "#fde2e2", "fails")):
        size = f'width="{x(end) - x(begin):.1f}" height="{height - bottom - 40}"'
        parts.append(f'<rect x="{x(begin):.1f}" y="40" {size} fill="{colour}"/>')
        parts.append(f'<text x="{x(begin) + 4:.1f}" y="54" fill="#666666">{word}</text>')
    for each, colour, row in zip(results, ("#c2410c", "#1d4ed8", "#15803d"), (16, 32, 48), strict=True):
        points = " ".join(f"{x(second):.1f},{y(count):.1f}" for second, count in enumerate(each.per_second))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        parts.append(f'<text x="{left}" y="{row}" fill="{colour}">{each.label}</text>')
    parts.append(f'<line x1="{left}" y1="{y(0):.1f}" x2="{width - 20}" y2="{y(0):.1f}" stroke="#444444"/>')
    parts += [
        f'<text x="{x(at):.1f}" y="{height - 22}" text-anchor="middle">{at} s</text>' for at in range(0, seconds, 60)
    ]
    parts += [
        f'<text x="{left - 6}" y="{y(most * part / 4) + 4:.1f}" text-anchor="end">{most * part // 4:,}</text>'
        for part in range(5)
    ]
    parts.append(f'<text x="{left}" y="{height - 4}" fill="#444444">requests in each second</text></svg>')
    return "\n".join(parts) + "\n"


def main() -> int:
    """Simulate all clients and print the figures; with ``--write`` put them into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/scale.md and docs/scale.svg")
    results = [simulate(client) for client in (FIXED, OURS, SHARING)]
    table = figures_of(results)
    print(table)
    if parser.parse_args().write:
        page = _ROOT / "docs" / "scale.md"
        before, _, rest = page.read_text("utf-8").partition(_BEGIN)
        page.write_text(f"{before}{_BEGIN}\n{table}\n\n{_END}{rest.partition(_END)[2]}", "utf-8")
        (_ROOT / "docs" / "scale.svg").write_text(_picture(results), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
