"""What all pushes of a client know together of the registries whose guests they are. Neither sync nor async."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Hashable
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.events import StatusChanged
from ollama_push.core.observations import PauseReason
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.breaker import (
    CLOSED,
    PROBE_LEASE_SECONDS,
    BreakerState,
    BreakerStep,
    BreakerStore,
    Sighting,
    look,
    renew_probe,
    take_probe,
)
from ollama_push.core.registry.concurrency import ConcurrencyLimit, ResponseTime, is_brief, kind_of_response
from ollama_push.core.registry.effects import EmitEvent, ReportPause
from ollama_push.core.registry.guest import (
    ASK_AGAIN_SECONDS,
    CircuitBreaker,
    Outcome,
    Patience,
    TokenBucket,
    health_told_by,
)
from ollama_push.core.responses import BufferedResponse, NotAsked, OptionalRequest
from ollama_push.transports._process import PerProcess

__all__ = [
    "QUIET_SECONDS",
    "Guest",
    "LocalBreakerStore",
    "Turn",
    "Visit",
]

QUIET_SECONDS: Final = 30.0
"""The most that one push waits for registries to get well, all its requests together: then its verdict is due."""
_POLL_SECONDS: Final = 0.1
"""How long a request that waits for its turn may take to notice that it has come, or that the push is to end."""
_WAITING: Final = "waiting for the registry, which keeps failing"
_LEAST_POLL_SECONDS: Final = 0.01
_MOST: Final = 1024
_TOO_MANY: Final = frozenset({429, 503})
_RENEWALS: Final = 3
"""In one lease: two of them may fail."""


class LocalBreakerStore:
    """Keeps what this process knows of registries (``core.registry.breaker.BreakerStore``).

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._known: dict[str, BreakerState] = {}

    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        with self._guard:
            now = self._clock()
            known = step(self._known.get(registry, CLOSED), now)
            if known.is_open:
                self._known[registry] = known
            else:
                self._known.pop(registry, None)
        return Sighting(known, now)

    def adopt(self, registry: str, seen: Sighting) -> None:
        """Replace what is known of *registry* by what was seen on another store."""
        self.change(registry, lambda _known, now: seen.state.moved(now - seen.now))


@attrs.define(eq=False)
class _Registry:
    """What is known of one registry.

    Attributes:
        breaker: Whether it is to be left alone.
        prober: Has the turn to try, or asks for it.
        due: Steps that the shared store has not been told of.
        asked_at: When that was asked last.
        in_doubt: Whether a request was refused or has failed since: others may know that it is ill.
    """

    breaker: CircuitBreaker
    prober: Turn | None = None
    due: list[BreakerStep] = attrs.field(factory=list)
    asked_at: float = -ASK_AGAIN_SECONDS
    in_doubt: bool = False


@attrs.define(eq=False)
class _Room:
    """How many requests a registry bears, and which turns wait until there is room, in their order."""

    limit: ConcurrencyLimit
    line: dict[Turn, None] = attrs.field(factory=dict)

    def end(self, turn: Turn, *, refused: bool, time: ResponseTime | None) -> None:
        """End the request of *turn*, and call those that there is room for now."""
        self.limit.end(refused=refused, brief=turn.is_brief, time=time)
        called = brief = 0
        for each in list(self.line):
            if not self.limit.has_room(brief=False, beside=called):
                break
            if self.limit.has_room(brief=each.is_brief, beside=called, brief_beside=brief):
                del self.line[each]
                each.call()
                called, brief = called + 1, brief + each.is_brief


@attrs.define(eq=False)
class _State:
    """What one process knows. A forked child has its own: a thread of its parent may hold these locks.

    Attributes:
        own: What it knows of registries.
        bucket: Spreads the bytes; ``None`` without a limit of the rate.
        name: Of the process, among those who share a store.
        guard: Held for a moment.
        asking: One question to the shared store at a time: what was seen later is adopted later.
        registries: By host.
    """

    own: LocalBreakerStore
    bucket: TokenBucket | None
    name: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    guard: threading.Lock = attrs.field(factory=threading.Lock)
    asking: threading.Lock = attrs.field(factory=threading.Lock)
    registries: dict[str, _Registry] = attrs.field(factory=dict)


class Guest:
    """The rate, and for each registry how many requests it bears, and whether it is ill. Safe with several threads.

    Args:
        max_bytes_per_second: Of all bodies together; ``None`` for no limit.
        store: Where many machines share which registries are ill; ``None`` for this process alone. It is asked at the
            beginning of a push, and after what has failed; while nothing does, no request waits for it.
        clock: Monotonic seconds.
        random: Random numbers, 0.0 to 1.0.
    """

    def __init__(
        self,
        max_bytes_per_second: float | None = None,
        store: BreakerStore | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._rate = max_bytes_per_second
        self._clock = clock
        self._random = random
        self._shared = store
        self._process = PerProcess(self._new_state)
        self._rooms = PerProcess[dict[str, _Room]](dict)

    def _new_state(self) -> _State:
        bucket = None if self._rate is None else TokenBucket(self._rate, self._clock)
        return _State(LocalBreakerStore(self._clock), bucket)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process counts for itself.
        return Guest, (self._rate, self._shared)

    def beside(self) -> Guest:
        """Return one with the same knowledge, whose requests are not counted with those of this one."""
        twin = Guest.__new__(Guest)
        vars(twin).update(vars(self), _rooms=PerProcess(dict))
        return twin

    @property
    def piece_bytes(self) -> int | None:
        """How much of a body is best sent at a time; ``None`` without a limit of the rate."""
        bucket = self._process.get().bucket
        return None if bucket is None else bucket.piece_bytes

    def take(self, count: int) -> float:
        """Announce *count* bytes; return the seconds to wait before they are sent."""
        state = self._process.get()
        if state.bucket is None:
            return 0.0
        with state.guard:
            return state.bucket.take(count)

    def visit(self) -> Visit:
        """Return the turns of one push."""
        return Visit(self, Patience(QUIET_SECONDS, self._clock))

    def begin(self, turn: Turn) -> float | None:
        """See :meth:`Turn.begin`."""
        with self._process.get().guard:
            registry, room = self._registry(turn.host), self._room(turn.host)
            if not room.limit.has_room(brief=turn.is_brief):
                turn.note_wait(PauseReason.CONCURRENCY)
                room.line[turn] = None
                return _POLL_SECONDS
            seconds = self._seconds_left(turn, registry)
            if seconds is None:
                room.limit.begin(brief=turn.is_brief)
                turn.note_begun(room.limit.brief)
                if registry.prober is turn and self._shared is not None:
                    self._keep_try(self._shared, turn, registry.breaker.who)
            return seconds

    def _seconds_left(self, turn: Turn, registry: _Registry) -> float | None:
        """Return for how long *turn* is to wait before it asks again; ``None`` when it is not to wait."""
        if (turn.visit.is_first(turn.host) or registry.in_doubt) and self._look_again(registry):
            return 0.0
        seen, who, left = (
            self._process.get().own.change(turn.host, look),
            registry.breaker.who,
            turn.visit.patience.left,
        )
        has_asked = registry.prober is turn
        if not seen.state.is_open or left <= 0:
            registry.prober = None if has_asked else registry.prober
            return None
        if isinstance(turn.request, OptionalRequest):
            raise NotAsked
        seconds = registry.breaker.seconds_left(seen.state, seen.now)
        if seconds <= 0 and registry.prober is None:
            registry.prober = turn
            self._take(turn.host, registry, take_probe(who))
            return 0.0
        if has_asked:
            if seconds <= 0 and seen.state.prober == who:
                return None
            registry.prober = None  # another process was faster
        if seen.state.is_probed(seen.now) and seen.state.prober != who:
            self._look_again(registry)
        turn.note_wait(PauseReason.BREAKER)
        return min(max(seconds, _LEAST_POLL_SECONDS), _POLL_SECONDS, left)

    def end(self, turn: Turn, result: object) -> None:
        """See :meth:`Turn.end`."""
        with self._process.get().guard:
            registry, began = self._registry(turn.host), turn.began_at
            self._room(turn.host).line.pop(turn, None)
            turn.note_wait(None)
            tries = registry.prober is turn
            if tries:
                registry.prober = None
            if began is None:
                outcome = Outcome.NOTHING
            else:
                refused = isinstance(result, BufferedResponse) and result.status in _TOO_MANY
                self._room(turn.host).end(turn, refused=refused, time=turn.time_of(result))
                outcome = health_told_by(result, tries=tries)
                registry.in_doubt = registry.in_doubt or refused or outcome is Outcome.FAILED
                if isinstance(turn.request, OptionalRequest) and outcome is Outcome.FAILED:
                    outcome = Outcome.NOTHING
            step = registry.breaker.ended(outcome, self._process.get().own.change(turn.host, look).state, tries=tries)
            if step is not None:
                self._take(turn.host, registry, step)

    def kinds_seen(self, host: str) -> frozenset[Hashable]:
        """Return the kinds of responses of *host* whose times are compared."""
        return self._room(host).limit.kinds

    def is_due(self, host: str) -> bool:
        """Return whether the shared store is to be asked."""
        return bool(self._registry(host).due)

    def consult(self, host: str) -> None:
        """Tell the shared store of what has happened, and adopt what it says. Waits for it."""
        state = self._process.get()
        with state.asking:
            with state.guard:
                registry = self._registry(host)
                steps, registry.due = registry.due, []
            seen = None
            for step in steps:
                seen = None if self._shared is None else self._shared.change(host, step)
            with state.guard:
                # What has happened since is known here alone. A store that fails leaves what this process knows.
                if seen is not None and not registry.due:
                    state.own.adopt(host, seen)

    def _look_again(self, registry: _Registry) -> bool:
        """Have the shared store asked, unless it was a moment ago; return whether it is to be."""
        if self._shared is None or self._clock() - registry.asked_at < ASK_AGAIN_SECONDS:
            return False
        registry.asked_at, registry.in_doubt = self._clock(), False
        registry.due.append(look)
        return True

    def _take(self, host: str, registry: _Registry, step: BreakerStep) -> None:
        """Take *step* here, and have the shared store told. A step that is taken twice changes nothing more."""
        self._process.get().own.change(host, step)
        if self._shared is not None:
            registry.asked_at = self._clock()
            registry.due.append(step)

    def _keep_try(self, store: BreakerStore, turn: Turn, who: str) -> None:
        """Renew the turn to try until *turn* ends."""

        def renew() -> None:
            while not turn.ended.wait(PROBE_LEASE_SECONDS / _RENEWALS):
                store.change(turn.host, renew_probe(who))

        threading.Thread(target=renew, name="ollama-push-try", daemon=True).start()

    def _registry(self, host: str) -> _Registry:
        state = self._process.get()
        if host not in state.registries:
            state.registries[host] = _Registry(CircuitBreaker(state.name, self._random))
        return state.registries[host]

    def _room(self, host: str) -> _Room:
        rooms = self._rooms.get()
        if host not in rooms:
            rooms[host] = _Room(ConcurrencyLimit(_MOST, self._clock))
        return rooms[host]

    @property
    def clock(self) -> Callable[[], float]:
        """Monotonic seconds."""
        return self._clock


class Visit:
    """One push as a guest: it owns the turns of its requests, and how long all of them wait for ill registries.

    Args:
        guest: What it knows together with other pushes.
        patience: How long it waits.

    Attributes:
        guest: As given.
        patience: As given.
    """

    def __init__(self, guest: Guest, patience: Patience) -> None:
        self.guest: Guest = guest
        self.patience: Patience = patience
        self._host: str | None = None

    def beside(self) -> Visit:
        """Return the visit of what reads for this push: a request that sends what it reads may have the last turn."""
        return Visit(self.guest.beside(), self.patience)

    def turn(self, request: HttpRequest, call: Callable[[], object] = lambda: None) -> Turn:
        """Return the turn of *request*; ``begin`` begins it, and ``end`` must end it, whatever happens.

        Args:
            request: The request.
            call: See :class:`Turn`.
        """
        return Turn(self, request, call)

    def is_first(self, host: str) -> bool:
        """Return whether nothing was asked before; then *host* is the registry of this push."""
        is_first, self._host = self._host is None, self._host or host
        return is_first


@attrs.define(eq=False)
class Turn:
    """The turn of one request: it waits until the registry bears it, and tells what came of it.

    Attributes:
        visit: Whose request it is.
        request: The request.
        host: Host and port that it goes to.
        is_brief: Whether it moves no blob.
        began_at: When it was sent; ``None`` before.
        ended: Set at its end.
        waits: Seconds that it waited, by reason.
        call: Called when it may be worth to ask again before that is due; from any thread.
    """

    visit: Visit
    request: HttpRequest
    call: Callable[[], object]
    host: str = attrs.field(init=False)
    is_brief: bool = attrs.field(init=False)
    began_at: float | None = attrs.field(default=None, init=False)
    ended: threading.Event = attrs.field(factory=threading.Event, init=False)
    waits: dict[PauseReason, float] = attrs.field(factory=dict, init=False)
    _news: list[EmitEvent] = attrs.field(factory=list, init=False)
    _beside: int = attrs.field(default=1, init=False)
    _reason: PauseReason | None = attrs.field(default=None, init=False)
    _since: float = attrs.field(default=0.0, init=False)

    @host.default
    def _host_of_request(self) -> str:
        return urlsplit(self.request.url).netloc

    @is_brief.default
    def _is_brief_request(self) -> bool:
        return is_brief(self.request)

    def begin(self) -> float | None:
        """Begin the request, and return ``None``; or return the seconds after which to ask again.

        Where ``is_due`` says so, ``consult`` comes before.

        Raises:
            NotAsked: It is an ``OptionalRequest``, and its registry is ill.
        """
        return self.visit.guest.begin(self)

    def end(self, result: object) -> None:
        """End it with its response or error; anything else is a request that was not sent to its end."""
        self.ended.set()
        self.visit.guest.end(self, result)

    @property
    def is_due(self) -> bool:
        """Whether ``consult`` is to be called, where it may wait."""
        return self.visit.guest.is_due(self.host)

    def consult(self) -> None:
        """Ask those who share what is known of the registry. Waits for them; raises nothing."""
        self.visit.guest.consult(self.host)

    @property
    def pauses(self) -> list[ReportPause]:
        """What hooks are told of its waits."""
        return [ReportPause(reason, seconds) for reason, seconds in self.waits.items()]

    def take_news(self) -> list[EmitEvent]:
        """Return what is to be told now, and was not before: that the push has begun to wait for an ill registry."""
        news, self._news = self._news, []
        return news

    def note_wait(self, reason: PauseReason | None) -> None:
        """Note that it waits from now on, and why; ``None`` for no longer."""
        if reason is self._reason:
            return
        now = self.visit.guest.clock()
        if self._reason is not None:
            self.waits[self._reason] = self.waits.get(self._reason, 0.0) + now - self._since
        if self._reason is PauseReason.BREAKER:
            self.visit.patience.end()
        if reason is PauseReason.BREAKER:
            if not self.visit.patience.is_waiting:
                self._news.append(EmitEvent(StatusChanged(_WAITING)))
            self.visit.patience.begin()
        self._reason, self._since = reason, now

    def note_begun(self, beside: int) -> None:
        """Note that it is sent now, when so many brief requests run."""
        self.note_wait(None)
        self.began_at, self._beside = self.visit.guest.clock(), beside

    def time_of(self, result: object) -> ResponseTime | None:
        """Return how long it took to *result*; ``None`` where that says nothing of the registry."""
        kind = kind_of_response(self.request, result)
        if kind is None or self.began_at is None:
            return None
        return ResponseTime(kind, self.visit.guest.clock() - self.began_at, self.began_at, self._beside)
