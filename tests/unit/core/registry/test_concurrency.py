"""How many requests a registry bears: half after refusals and late responses, and one more for each round."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clocks import Clock

from ollama_push.core.errors import ConnectionLost
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.concurrency import ConcurrencyLimit, ResponseTime, kind_of_response
from ollama_push.core.responses import BlobRequest, BufferedResponse, StreamedResponse


def test_a_refusal_halves_the_limit_and_success_brings_it_back() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(8, clock)
    assert [limit.begin() for _ in range(9)] == [True] * 8 + [False]
    limit.end(refused=True)
    assert (limit.brief_limit, limit.running) == (4, 7)
    limit.end(refused=True)
    assert limit.brief_limit == 4, "it answers what was sent before"
    for _ in range(6):
        assert not limit.begin() or limit.running <= 4
        limit.end(refused=False)
    assert 4 <= limit.brief_limit <= 6
    for _ in range(100):
        if limit.begin():
            limit.end(refused=False)
    assert limit.brief_limit == 8


def test_the_limit_falls_to_half_of_what_ran() -> None:
    limit = ConcurrencyLimit(256, Clock())
    for _ in range(4):
        limit.begin()
    limit.end(refused=True)
    assert limit.brief_limit == 2


def test_one_request_may_always_run() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(3, clock)
    for _ in range(10):
        assert limit.begin()
        clock.now += 2.0
        limit.end(refused=True)
    assert limit.brief_limit == 1
    assert limit.begin()
    assert not limit.begin()


_BASE = "https://registry.test/v2/team/manifests"
_OK = BufferedResponse(200, {}, b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("HEAD", "/manifests/v1", 404, ("HEAD", "manifests", False, 404)),
        ("GET", "/blobs/sha256:0", 206, ("GET", "blobs", False, 206)),
        ("POST", "/blobs/uploads/", 202, ("POST", "uploads", False, 202)),
        ("POST", "/blobs/uploads/?mount=sha256:0&from=a", 201, ("POST", "uploads", True, 201)),
        ("GET", "/blobs/uploads/1", 204, ("GET", "uploads", False, 204)),
    ],
)
def test_responses_of_one_kind_are_compared(method: str, path: str, status: int, kind: object) -> None:
    request = HttpRequest(method, f"https://registry.test/v2/team/a{path}")
    assert kind_of_response(request, BufferedResponse(status, {}, b"")) == kind


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (HttpRequest("PUT", _BASE), _OK),
        (HttpRequest("PATCH", _BASE, body=b"x"), _OK),
        (HttpRequest("POST", _BASE, body=b"x"), _OK),
        (HttpRequest("GET", _BASE), ConnectionLost(_BASE)),
        (BlobRequest("GET", _BASE), StreamedResponse(200, {}, b"")),
        (HttpRequest("GET", _BASE), None),
    ],
    ids=repr,
)
def test_what_takes_as_long_as_it_is_large_is_not_compared(request_: HttpRequest, response: object) -> None:
    assert kind_of_response(request_, response) is None


def test_a_blob_on_its_way_takes_no_room_of_brief_requests_and_waits_for_none() -> None:
    """It may take hours. Late responses do not hold it up, and it holds up nobody who asks something."""
    clock = Clock()
    limit = ConcurrencyLimit(8, clock)
    for seconds in [0.1, *[2.0] * 8]:
        began, beside = clock.now, sum(limit.begin() for _ in range(8))
        clock.now += seconds
        for _ in range(beside):
            limit.end(refused=False, time=ResponseTime("kind", seconds, began, beside))
        if limit.brief_limit < limit.limit:
            break
    assert limit.brief_limit == 4
    assert all(limit.begin(brief=False) for _ in range(7))
    assert limit.begin(), "none of those on their way is brief"
    assert not limit.has_room(brief=False)
    limit.end(refused=False, brief=False)
    assert all(limit.has_room(brief=brief) for brief in (True, False))
    assert (limit.running, limit.brief) == (7, 1)


def test_refusals_hold_up_all() -> None:
    limit = ConcurrencyLimit(8, Clock())
    for _ in range(4):
        limit.begin(brief=False)
    limit.end(refused=True, brief=False)
    assert limit.limit == 2
    assert not limit.has_room(brief=False)
    assert not limit.has_room()


class _Registry:
    """A registry that works at *places* requests at a time, each for *seconds*; the others wait in a line."""

    def __init__(self, limit: ConcurrencyLimit, clock: Clock, places: int, seconds: float) -> None:
        self.limit = limit
        self.clock = clock
        self.places = places
        self.seconds = seconds
        self.served = 0
        self._running: list[tuple[float, float, int]] = []
        self._free = [0.0] * places

    def run(self, wanted: int, until: int) -> float:
        """Keep *wanted* requests running where the limit lets, until so many are served; return the seconds."""
        began, end = self.clock.now, self.served + until
        while self.served < end:
            while len(self._running) < wanted and self.limit.begin():
                place = min(range(self.places), key=self._free.__getitem__)
                done = max(self._free[place], self.clock.now) + self.seconds
                self._free[place] = done
                self._running.append((done, self.clock.now, self.limit.running))
            done, sent, beside = min(self._running)
            self._running.remove((done, sent, beside))
            self.clock.now = max(self.clock.now, done)
            self.served += 1
            self.limit.end(refused=False, time=ResponseTime("kind", self.clock.now - sent, sent, beside))
        return self.clock.now - began


@pytest.mark.parametrize("wanted", [10, 40, 200])
def test_a_line_at_the_registry_is_kept_short_and_the_registry_busy(wanted: int) -> None:
    clock = Clock()
    limit = ConcurrencyLimit(1024, clock)
    registry = _Registry(limit, clock, places=4, seconds=0.2)
    registry.run(wanted=1, until=3)
    registry.run(wanted, until=20 * wanted)
    seen = []
    began = clock.now
    for _ in range(200):
        registry.run(wanted, until=10)
        seen.append(limit.running)
    assert max(seen) <= 12, "little more than 2.5 times as many as it works at"
    assert 2000 / (clock.now - began) >= 0.97 * 4 / 0.2


@pytest.mark.parametrize("seconds", [0.02, 0.5, 5.0])
def test_a_registry_that_is_slow_at_any_number_is_not_asked_less(seconds: float) -> None:
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    _Registry(limit, clock, places=64, seconds=seconds).run(wanted=64, until=2000)
    assert limit.brief_limit == 64


def test_a_registry_that_becomes_slow_for_another_reason_is_asked_as_much_as_before() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    registry = _Registry(limit, clock, places=64, seconds=0.1)
    registry.run(wanted=32, until=500)
    registry.seconds = 1.0
    registry.run(wanted=32, until=500)
    assert registry.run(wanted=32, until=320) == pytest.approx(10.0, rel=0.2)
    assert limit.brief_limit >= 32


def test_many_requests_at_a_line_that_is_very_fast_are_not_fewer() -> None:
    """Some milliseconds are nothing that anybody notices."""
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    registry = _Registry(limit, clock, places=4, seconds=0.01)
    registry.run(wanted=1, until=3)
    registry.run(wanted=64, until=5000)
    assert limit.brief_limit == 64


def _took(limit: ConcurrencyLimit, clock: Clock, *seconds: float, beside: int = 8, kind: Hashable = "a") -> None:
    for each in seconds:
        assert limit.begin()
        sent = clock.now
        clock.now += each
        limit.end(refused=False, time=ResponseTime(kind, each, sent, beside))


def test_some_late_responses_say_nothing() -> None:
    """Three of eight had to connect first."""
    clock = Clock()
    limit = ConcurrencyLimit(8, clock)
    _took(limit, clock, *[0.1] * 5, *[1.0] * 3, *[0.1] * 5, *[1.0] * 3)
    _took(limit, clock, *[1.0] * 8, *[0.1] * 8, *[1.0] * 8)
    assert limit.brief_limit == 8
    _took(limit, clock, *[1.0] * 8)
    assert limit.brief_limit == 4


def test_some_that_pass_the_line_do_not_hide_it() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(8, clock)
    _took(limit, clock, *([0.1, *[1.0] * 7] * 2))
    assert limit.brief_limit == 4


def test_the_time_of_another_kind_is_no_measure() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(8, clock)
    _took(limit, clock, 0.1, kind="fast")
    _took(limit, clock, *[1.0] * 50, kind="slow")
    assert limit.brief_limit == 8
    assert limit.kinds == {"fast", "slow"}


def test_a_line_that_still_grows_is_not_judged() -> None:
    """All were asked for at once: each is later than the one before."""
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    _took(limit, clock, *[0.1] * 8)
    _took(limit, clock, *[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6])
    assert limit.brief_limit == 64


def test_a_request_that_ran_alone_was_not_too_many() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(8, clock)
    _took(limit, clock, 0.1, *[1.0] * 39, beside=1)
    assert limit.brief_limit == 8


def test_what_was_sent_before_the_limit_fell_is_not_counted() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    _took(limit, clock, 0.1, *[1.0] * 15)
    assert limit.brief_limit == 4
    for _ in range(40):
        assert limit.begin()
        limit.end(refused=False, time=ResponseTime("a", 1.0, clock.now - 1.0, 8))
    assert limit.brief_limit == 4


def test_a_trial_that_helps_is_followed_by_the_next_one() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    _took(limit, clock, 0.1, *[2.0] * 15, beside=16)
    assert limit.brief_limit == 8
    _took(limit, clock, *[1.0] * 16)
    assert limit.brief_limit == 4
    _took(limit, clock, *[0.15] * 100)
    assert limit.brief_limit > 8


def test_the_limit_does_not_grow_while_it_is_tried_whether_less_helps() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    _took(limit, clock, 0.1, *[2.0] * 15, beside=16)
    assert limit.brief_limit == 8
    for _ in range(198):
        limit.begin()
        limit.end(refused=False)
    assert limit.brief_limit == 8
    for _ in range(20):
        limit.begin()
        limit.end(refused=False)
    assert limit.brief_limit > 8, "its kind has not come any more"


def test_a_trial_after_which_nothing_is_late_is_over() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    _took(limit, clock, 0.1, *[2.0] * 15, beside=16)
    _took(limit, clock, *[0.1] * 8)
    # Another line is another trial: the times of the first are no measure of it.
    _took(limit, clock, *[2.0] * 16)
    assert limit.brief_limit <= 4


def test_a_trial_that_helps_nothing_is_undone_for_good() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    _took(limit, clock, 0.1, *[2.0] * 15, beside=16)
    assert limit.brief_limit == 8
    _took(limit, clock, *[2.0] * 16)
    assert limit.brief_limit == 64
    _took(limit, clock, *([0.1, *[2.0] * 7] * 20))
    assert limit.brief_limit == 64, "one that is fast is an exception"
    _took(limit, clock, *[0.1] * 8)
    _took(limit, clock, *[2.0] * 16)
    assert limit.brief_limit == 4, "and eight are none"


@given(
    st.integers(1, 40),
    st.lists(
        st.tuples(st.booleans(), st.none() | st.floats(0, 10), st.integers(1, 40), st.sampled_from("ab")), max_size=200
    ),
)
def test_the_limit_stays_within_its_bounds_and_comes_back(
    most: int, ends: list[tuple[bool, float | None, int, str]]
) -> None:
    clock = Clock()
    limit = ConcurrencyLimit(most, clock)
    for refused, seconds, beside, kind in ends:
        assert limit.begin()
        sent = clock.now
        clock.now += seconds or 0.5
        limit.end(refused=refused, time=None if seconds is None else ResponseTime(kind, seconds, sent, beside))
        assert 1 <= limit.brief_limit <= most
    for _ in range(most * most + 1):
        assert limit.begin()
        clock.now += 1.0
        limit.end(refused=False, time=ResponseTime("c", 0.1, clock.now - 0.1, 2))
    assert limit.brief_limit == most
