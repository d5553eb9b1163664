"""What the pushes of a client know together: the rate, how much a registry bears, and whether it is ill."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
from tests.support.clocks import Clock

from ollama_push.client._guest import QUIET_SECONDS, Guest, LocalBreakerStore, Turn, Visit
from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost
from ollama_push.core.events import StatusChanged
from ollama_push.core.observations import PauseReason
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.breaker import BreakerStep, Sighting, look
from ollama_push.core.registry.concurrency import ConcurrencyLimit
from ollama_push.core.registry.effects import EmitEvent, ReportPause
from ollama_push.core.responses import BufferedResponse, NotAsked, OptionalRequest

_HOST: Final = "registry.example.com"
_URL: Final = f"https://{_HOST}/v2/a/b/blobs/uploads/"
_REQUEST: Final = HttpRequest("POST", _URL)
_QUESTION: Final = OptionalRequest("HEAD", _URL)
_PATIENCE_SECONDS: Final = 30.0


def _response(status: int) -> BufferedResponse:
    return BufferedResponse(status, {}, b"")


def _guest(clock: Clock, store: LocalBreakerStore | None = None, random: Callable[[], float] = lambda: 1.0) -> Guest:
    return Guest(store=store, clock=clock, random=random)


def _begun(visit: Visit, request: HttpRequest = _REQUEST) -> Turn:
    """Return a turn that begins at once, after it has asked those who share what is known."""
    turn = visit.turn(request)
    for _ in range(3):
        if turn.begin() is None:
            return turn
        if turn.is_due:
            turn.consult()
    raise AssertionError("it has to wait")


def _waits(turn: Turn) -> float:
    seconds = turn.begin()
    assert seconds is not None, "it does not wait"
    return seconds


def _ask(visit: Visit, *results: object, request: HttpRequest = _REQUEST) -> None:
    for result in results:
        turn = _begun(visit, request)
        turn.end(result)
        if turn.is_due:
            turn.consult()


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_has_too_many_gets_half_as_many(status: int) -> None:
    visit = _guest(Clock()).visit()
    turns = [_begun(visit) for _ in range(4)]
    turns.pop().end(_response(status))
    turns.pop().end(_response(200))
    waiting = visit.turn(_REQUEST)
    assert waiting.begin() is not None
    other = visit.turn(HttpRequest("GET", "https://other.example.com/v2/"))
    assert other.begin() is None, "another registry is another one"
    turns.pop().end(_response(200))
    assert waiting.begin() is None
    assert [pause.reason for pause in waiting.pauses] == [PauseReason.CONCURRENCY]


def test_who_waits_for_room_is_called_in_order_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_push.client._guest._MOST", 2)
    visit = _guest(Clock()).visit()
    running = [_begun(visit) for _ in range(2)]
    called: list[str] = []
    first, second, third = (visit.turn(_REQUEST, partial(called.append, name)) for name in "abc")
    for turn in (first, second, third, first):
        assert turn.begin() == pytest.approx(0.1)
    second.end(None)
    assert called == []
    running.pop().end(_response(200))
    assert called == ["a"]
    assert first.begin() is None
    running.pop().end(_response(200))
    assert called == ["a", "c"], "the second one waits no longer"
    first.end(_response(200))
    assert called == ["a", "c"]
    assert third.begin() is None


def test_a_part_of_a_blob_passes_those_who_wait_for_room_of_brief_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConcurrencyLimit, "brief_limit", 1)
    visit = _guest(Clock()).visit()
    running = _begun(visit)
    called: list[str] = []
    asking, other = (visit.turn(_REQUEST, partial(called.append, name)) for name in "ab")
    assert asking.begin() is not None
    assert other.begin() is not None
    part = visit.turn(HttpRequest("PATCH", _URL, body=b"x"))
    assert part.begin() is None
    part.end(_response(202))
    assert called == []
    running.end(_response(200))
    assert called == ["a"]


def test_connections_that_are_closed_in_between_are_no_failure() -> None:
    _ask(_guest(Clock()).visit(), *[ConnectionLost(_URL, unread=True)] * 20)


@pytest.mark.parametrize("failure", [ConnectionLost(_URL), _response(500), _response(502)])
def test_a_registry_that_keeps_failing_is_left_alone(failure: object) -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    _ask(visit, *[failure] * 5)
    waiting, other = visit.turn(_REQUEST), visit.turn(_REQUEST)
    assert 0 < _waits(waiting) <= 0.1
    told = EmitEvent(StatusChanged("waiting for the registry, which keeps failing"))
    assert [waiting.take_news(), waiting.take_news()] == [[told], []]
    assert _waits(other) > 0
    assert other.take_news() == [], "its push has told that"
    clock.now += 1.0
    assert waiting.begin() == 0.0
    assert waiting.begin() is None
    assert _waits(other) > 0, "one at a time"
    waiting.end(_response(404))
    assert other.begin() is None
    assert waiting.pauses == [ReportPause(PauseReason.BREAKER, 1.0)]


@pytest.mark.parametrize(
    "result", [_response(404), _response(429), _response(507), ConnectFailed(_URL, ConnectCause.REFUSED), None]
)
def test_what_is_no_failure_opens_nothing(result: object) -> None:
    visit = _guest(Clock()).visit()
    for _ in range(20):
        _begun(visit).end(result)


def _poll(turn: Turn, clock: Clock) -> float:
    """Ask for *turn* as a flow runner does, until it has begun; return how long that took."""
    began = clock.now
    while (seconds := turn.begin()) is not None:
        assert clock.now < began + 10 * QUIET_SECONDS
        clock.now += seconds
    return clock.now - began


def test_a_push_waits_for_half_a_minute_in_all() -> None:
    """Otherwise a registry that fails for ever would hold every request of it for a minute."""
    clock = Clock()
    visit = _guest(clock).visit()
    _ask(visit, *[_response(502)] * 5)
    waits = []
    for _ in range(20):
        turn = visit.turn(_REQUEST)
        waits.append(_poll(turn, clock))
        turn.end(_response(502))
    assert waits[0] == pytest.approx(1.0, abs=0.02)
    assert sum(waits) == pytest.approx(QUIET_SECONDS)
    assert waits[-10:] == [0.0] * 10
    another = visit.guest.visit().turn(_REQUEST)
    assert _waits(another) > 0, "another push has a patience of its own"


def test_requests_that_wait_side_by_side_wait_once() -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    _ask(visit, *[_response(502)] * 5)
    turns = [visit.turn(_REQUEST) for _ in range(8)]
    for turn in turns:
        _waits(turn)
    clock.now += 0.5
    assert visit.patience.left == pytest.approx(QUIET_SECONDS - 0.5)
    for turn in turns:
        turn.end(None)
    clock.now += 100.0
    assert visit.patience.left == pytest.approx(QUIET_SECONDS - 0.5)


def test_what_only_saves_work_makes_no_registry_ill_and_waits_for_none() -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    _ask(visit, *[_response(502), ConnectionLost(_URL)] * 20, request=_QUESTION)
    _ask(visit, *[_response(502)] * 5)
    for _ in range(3):
        turn = visit.turn(_QUESTION)
        with pytest.raises(NotAsked):
            turn.begin()
        turn.end(NotAsked())
        assert turn.pauses == []
        clock.now += 1.0
    trying = _begun(visit)
    trying.end(_response(200))
    _ask(visit, _response(200), request=_QUESTION)


def test_a_push_whose_patience_is_over_asks_its_questions() -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    _ask(visit, *[_response(502)] * 5)
    while visit.patience.left:
        turn = visit.turn(_REQUEST)
        _poll(turn, clock)
        turn.end(_response(502))
    _ask(visit, _response(502), request=_QUESTION)


def test_a_response_to_such_a_question_closes_the_breaker() -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    question = _begun(visit, _QUESTION)
    _ask(visit, *[_response(502)] * 5)
    question.end(_response(404))
    _ask(visit, _response(200))


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_try_that_was_given_up_is_left_to_another_one(*, has_begun: bool) -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    _ask(visit, *[_response(500)] * 5)
    clock.now += 1.0
    turn = visit.turn(_REQUEST)
    assert turn.begin() == 0.0
    assert not has_begun or turn.begin() is None
    turn.end(None)
    _ask(visit, _response(200))


def test_a_request_that_was_sent_before_leaves_the_try_alone() -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    before = _begun(visit)
    _ask(visit, *[_response(500)] * 5)
    clock.now += 1.0
    trying = _begun(visit)
    before.end(None)
    assert _waits(visit.turn(_REQUEST)) > 0
    trying.end(_response(200))


def test_what_a_try_meets_counts_even_where_the_registry_cannot_be_reached() -> None:
    clock = Clock()
    visit = _guest(clock).visit()
    _ask(visit, *[_response(500)] * 5)
    clock.now += 1.0
    _ask(visit, ConnectFailed(_URL, ConnectCause.REFUSED))
    clock.now += 1.9
    assert _waits(visit.turn(_REQUEST)) > 0
    clock.now += 0.1
    _begun(visit).end(_response(200))


def test_what_reads_for_a_push_has_turns_of_its_own_and_the_same_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_push.client._guest._MOST", 1)
    clock = Clock()
    visit = _guest(clock).visit()
    reading = visit.beside()
    sending = _begun(visit)
    assert _waits(visit.turn(_REQUEST)) > 0
    _begun(reading).end(_response(200))
    sending.end(_response(200))
    _ask(reading, *[_response(502)] * 5)
    assert _waits(visit.turn(_REQUEST)) > 0, "both know that it is ill"
    assert reading.patience is visit.patience


class _Counting(LocalBreakerStore):
    """A store that many share, and that may be away."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.steps: list[BreakerStep] = []
        self.is_away = False
        self.renewed = threading.Event()

    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        if self.is_away:
            return None  # type: ignore[return-value]  # as the port says
        self.steps.append(step)
        if "renew" in step.__qualname__:
            self.renewed.set()
        return super().change(registry, step)


def test_a_healthy_push_asks_the_others_once() -> None:
    clock = Clock()
    store = _Counting(clock)
    guest = _guest(clock, store)
    visit = guest.visit()
    _ask(visit, *[_response(200)] * 50)
    _ask(visit, *[_response(200)] * 50, request=HttpRequest("GET", "https://tokens.example.com/token"))
    assert store.steps == [look]
    _ask(guest.visit(), _response(200))
    assert store.steps == [look], "many small pushes do not ask for each"
    clock.now += 1.0
    _ask(guest.visit(), _response(200))
    assert store.steps == [look, look]


def test_others_learn_that_a_registry_is_ill_and_one_of_all_tries() -> None:
    clock, others_clock = Clock(), Clock(5000.0)
    store = _Counting(Clock(9.0))
    store._clock = lambda: clock.now + 9.0
    mine = Guest(store=store, clock=clock, random=lambda: 1.0).visit()
    _ask(mine, *[_response(502)] * 5)
    theirs = Guest(store=store, clock=others_clock, random=lambda: 1.0).visit()
    waiting = theirs.turn(_REQUEST)
    assert waiting.begin() == 0.0
    waiting.consult()
    assert _waits(waiting) > 0
    clock.now += 1.0
    others_clock.now += 1.0
    trying = _begun(mine)
    assert waiting.begin() == 0.0
    waiting.consult()
    assert _waits(waiting) > 0
    assert not waiting.is_due
    trying.end(_response(502))
    trying.consult()
    others_clock.now += 1.0
    clock.now += 1.0
    assert _waits(waiting) > 0
    assert waiting.is_due
    waiting.consult()
    clock.now += 1.0
    others_clock.now += 1.0
    assert waiting.begin() == 0.0
    waiting.consult()
    assert waiting.begin() is None
    waiting.end(_response(200))
    waiting.consult()
    late = mine.turn(_REQUEST)
    assert late.begin() == 0.0
    late.consult()
    assert late.begin() is None


@pytest.mark.parametrize("result", [_response(502), _response(503), _response(429), ConnectionLost(_URL)])
def test_one_failure_is_enough_to_learn_it(result: object) -> None:
    clock = Clock()
    store = _Counting(clock)
    mine, theirs = _guest(clock, store).visit(), _guest(clock, store).visit()
    _ask(theirs, _response(200))
    clock.now += 1.0
    _ask(mine, *[_response(502)] * 5)
    _ask(theirs, result)
    waiting = theirs.turn(_REQUEST)
    assert waiting.begin() == 0.0
    waiting.consult()
    assert _waits(waiting) > 0


def test_the_lease_of_a_long_try_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_push.client._guest.PROBE_LEASE_SECONDS", 0.03)
    clock = Clock()
    store = _Counting(clock)
    visit = _guest(clock, store).visit()
    _ask(visit, *[_response(502)] * 5)
    clock.now += 1.0
    turn = _begun(visit)
    assert store.renewed.wait(_PATIENCE_SECONDS)
    turn.end(_response(200))
    turn.consult()


def test_a_board_that_is_away_leaves_each_process_to_itself() -> None:
    clock = Clock()
    store = _Counting(clock)
    visit = _guest(clock, store).visit()
    _ask(visit, *[_response(502)] * 4)
    store.is_away = True
    _ask(visit, _response(502))
    assert _waits(visit.turn(_REQUEST)) > 0
    clock.now += 1.0
    trying = _begun(visit)
    assert _waits(visit.turn(_REQUEST)) > 0
    trying.end(_response(200))
    trying.consult()
    _ask(visit, _response(200))


def test_what_has_happened_since_the_others_were_asked_is_not_forgotten() -> None:
    clock = Clock()
    store = _Counting(clock)
    visit = _guest(clock, store).visit()
    first = visit.turn(_REQUEST)
    assert first.begin() == 0.0

    def meanwhile(registry: str, step: BreakerStep) -> Sighting:
        seen = LocalBreakerStore.change(store, registry, step)
        for _ in range(5):
            begun = visit.turn(_REQUEST)
            assert begun.begin() is None
            begun.end(_response(502))
        return seen

    store.change = meanwhile  # type: ignore[method-assign]
    first.consult()
    assert _waits(visit.turn(_REQUEST)) > 0


def test_a_copy_in_another_process_has_the_same_rate() -> None:
    assert pickle.loads(pickle.dumps(Guest(1e6))).piece_bytes == 100_000
    assert pickle.loads(pickle.dumps(Guest())).piece_bytes is None
    assert Guest().take(10**9) == 0.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_child_needs_no_lock_that_a_thread_of_its_parent_held() -> None:
    clock = Clock()
    visit = Guest(1e6, clock=clock).visit()
    _ask(visit, *[_response(502)] * 5)
    assert visit.guest.take(500_000) == 0.0
    with visit.guest._process.get().guard, visit.guest._process.get().asking:
        child = os.fork()
        if child == 0:
            # Nothing of pytest may run here, and a child that waits for ever is ended.
            signal.alarm(30)
            try:
                own = visit.guest.visit()
                _ask(own, _response(200))
                os._exit(0 if own.guest.take(1) == 0.0 else 1)
            except BaseException:  # noqa: BLE001 - it ends here
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert visit.turn(_REQUEST).begin() is not None
