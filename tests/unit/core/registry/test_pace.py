"""How fast a push asks a registry that has put it off, on a clock that is set by hand."""

from __future__ import annotations

import pytest
from tests.support.clocks import Clock
from tests.support.memory_models import MODEL, push
from tests.support.memory_registry import Deviations, MemoryRegistry
from tests.support.scripted_flow import response

from ollama_push.core.errors import TransportError
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.effects import ReportRetry
from ollama_push.core.registry.pace import Pace
from ollama_push.core.responses import BufferedResponse


def test_there_is_no_gap_before_the_first_time() -> None:
    pace = Pace(Clock(), 0.1)
    for _ in range(3):
        assert pace.wait() == 0
        pace.take_turn()


def test_one_pause_is_for_all_and_then_they_go_one_by_one() -> None:
    clock = Clock()
    pace = Pace(clock, 0.5)
    pace.put_off(pace.take_turn(), 7.0)
    assert pace.wait() == 7.0
    clock.now += 7.0
    assert pace.wait() == 0
    pace.take_turn()
    assert pace.wait() == 0.5


def test_what_was_under_way_says_nothing_new_of_the_pace() -> None:
    clock = Clock()
    pace = Pace(clock, 0.5)
    sent = [pace.take_turn() for _ in range(4)]
    clock.now += 0.1
    for each in sent:
        pace.put_off(each, 0.0)
    assert pace.wait() == 0.5
    clock.now += 0.5
    pace.put_off(pace.take_turn(), 0.0)
    assert pace.wait() == 1.0


def test_the_gap_has_an_end_and_shrinks_again() -> None:
    clock = Clock()
    pace = Pace(clock, 0.1)
    for _ in range(20):
        clock.now += pace.wait()
        pace.put_off(pace.take_turn(), 0.0)
    assert pace.wait() == pytest.approx(5.0)
    clock.now += 5.0
    for _ in range(50):
        pace.let_through()
    pace.take_turn()
    assert pace.wait() < 0.03


class FewRequests:
    """Lets a request through if the one before was let through so many seconds ago, as nginx's ``limit_req`` does."""

    def __init__(self, inner: MemoryRegistry, a_second: float, clock: Clock | None = None) -> None:
        self.inner = inner
        self.clock = clock
        self._between = 1.0 / a_second
        self._last = -1.0
        self.put_off = 0

    def __call__(self, request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        assert self.clock is not None
        if self.clock.now - self._last < self._between - 1e-6:
            self.put_off += 1
            return response(429)
        self._last = self.clock.now
        return self.inner(request, body)


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("a_second", [0.5, 2.0, 5.0, 50.0])
def test_a_limit_without_a_burst_is_passed(a_second: float, concurrency: int) -> None:
    peer = FewRequests(MemoryRegistry(Deviations()), a_second)
    player = MODEL.player(peer)
    peer.clock = player.clock
    began = player.clock.now
    assert push(player, MODEL, concurrency=concurrency).verified
    assert MODEL.is_at(peer.inner)
    asked = len(player.requests) - peer.put_off
    # No more than three times as long as the limit makes it, and not much for nothing.
    assert player.clock.now - began <= 3 * asked / a_second + 5.0
    assert peer.put_off <= asked
    assert len(player.of(ReportRetry)) == peer.put_off
