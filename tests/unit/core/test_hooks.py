"""Hooks are told in order, throttled where they ask for it, and can do no harm."""

from __future__ import annotations

from typing import Final

from ollama_push.core.events import MAX_LAYERS, LayerProgress, PushEvent, StatusChanged
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import EventSeen, Observation, PushContext, PushStarted
from ollama_push.core.ports import Hook

_PUSH: Final = PushContext("a/b:latest", "http://h:1")


class Throttled:
    """A hook that wants progress no more often than every *min_interval* seconds."""

    def __init__(self, min_interval: float) -> None:
        self.min_interval = min_interval
        self.seen: list[tuple[float, PushEvent | None]] = []

    def __call__(self, seen: Observation) -> None:
        self.seen.append((seen.elapsed, seen.event if isinstance(seen, EventSeen) else None))


def _hooks(*hooks: Hook, reports: list[tuple[Hook, Exception]] | None = None) -> HookSet:
    told = [] if reports is None else reports
    return HookSet(hooks, _PUSH, lambda hook, exc: told.append((hook, exc)))


def _layer(completed: int, digest: str = "sha256:a") -> LayerProgress:
    return LayerProgress(digest, 100, completed)


def test_no_hooks_are_nothing() -> None:
    assert not _hooks()
    assert _hooks(print)
    assert _hooks(Throttled(1.0))


def test_hooks_are_told_in_order() -> None:
    told: list[str] = []
    hooks = _hooks(lambda _: told.append("first"), lambda _: told.append("second"))
    hooks.tell(PushStarted(_PUSH, 0.0))
    hooks.tell_event(StatusChanged("x"), 0.5)
    assert told == ["first", "second", "first", "second"]


def test_an_event_comes_with_its_push_and_time() -> None:
    seen: list[Observation] = []
    _hooks(seen.append).tell_event(StatusChanged("x"), 0.5)
    assert seen == [EventSeen(_PUSH, 0.5, StatusChanged("x"))]


def test_a_hook_that_raises_is_reported_once_and_dropped() -> None:
    seen: list[Observation] = []
    reports: list[tuple[Hook, Exception]] = []
    error = RuntimeError("boom")

    def broken(_seen: Observation) -> None:
        raise error

    hooks = _hooks(broken, seen.append, reports=reports)
    for _ in range(3):
        hooks.tell_event(StatusChanged("x"), 0.5)
    assert reports == [(broken, error)]
    assert len(seen) == 3


def test_a_throttled_hook_that_raises_is_dropped_too() -> None:
    class Broken(Throttled):
        def __call__(self, seen: Observation) -> None:
            super().__call__(seen)
            raise KeyError

    broken, reports = Broken(1.0), list[tuple[Hook, Exception]]()
    hooks = _hooks(broken, reports=reports)
    hooks.tell_event(StatusChanged("x"), 0.0)
    hooks.tell_event(StatusChanged("y"), 9.0)
    assert len(broken.seen) == len(reports) == 1
    assert not hooks


def test_a_throttled_hook_gets_the_newest_progress_late_rather_than_never() -> None:
    hook = Throttled(1.0)
    hooks = _hooks(hook)
    for tick in range(4):
        hooks.tell_event(_layer(tick), tick / 4)
    assert hook.seen == [(0.0, _layer(0))]
    hooks.tell(PushStarted(_PUSH, 0.9))
    assert hook.seen == [(0.0, _layer(0)), (0.75, _layer(3)), (0.9, None)]


def test_a_throttled_hook_is_not_told_twice_at_once() -> None:
    hook = Throttled(1.0)
    hooks = _hooks(hook)
    for tick in range(5):
        hooks.tell_event(_layer(tick), tick / 4)
    assert hook.seen == [(0.0, _layer(0)), (1.0, _layer(4))]


def test_what_was_told_is_not_told_again() -> None:
    hook = Throttled(1.0)
    hooks = _hooks(hook)
    hooks.tell_event(_layer(0), 0.0)
    hooks.tell(PushStarted(_PUSH, 0.1))
    assert [event for _, event in hook.seen] == [_layer(0), None]


def test_another_layer_or_status_is_told_at_once_after_what_was_held_back() -> None:
    hook = Throttled(1.0)
    hooks = _hooks(hook)
    events: list[PushEvent] = [_layer(0), _layer(1), _layer(0, "sha256:b"), StatusChanged("x"), _layer(5, "sha256:b")]
    for event in events:
        hooks.tell_event(event, 0.1)
    assert [event for _, event in hook.seen] == events


def test_an_eager_hook_beside_a_throttled_one_misses_nothing() -> None:
    seen: list[Observation] = []
    hook = Throttled(1.0)
    hooks = _hooks(seen.append, hook)
    for tick in range(4):
        hooks.tell_event(_layer(tick), tick / 100)
    assert len(seen) == 4
    assert len(hook.seen) == 1


def test_the_quickest_of_several_throttled_hooks_gets_what_it_asked_for() -> None:
    slow, quick = Throttled(9.0), Throttled(0.5)
    hooks = _hooks(slow, quick)
    hooks.tell_event(_layer(0), 0.0)
    hooks.tell_event(_layer(1), 0.5)
    assert len(quick.seen) == 2


def test_the_slowest_of_several_throttled_hooks_is_not_told_more_often_than_it_asked_for() -> None:
    slow, quick = Throttled(9.0), Throttled(0.5)
    hooks = _hooks(slow, quick)
    hooks.tell_event(_layer(0), 0.0)
    hooks.tell_event(_layer(1), 0.5)
    assert len(slow.seen) == 1


def test_a_zero_interval_is_no_throttle() -> None:
    hook = Throttled(0.0)
    hooks = _hooks(hook)
    for tick in range(3):
        hooks.tell_event(_layer(tick), 0.0)
    assert len(hook.seen) == 3


def test_a_hook_that_raises_at_what_it_missed_is_not_called_for_what_comes_next() -> None:
    class BrokenLater(Throttled):
        def __call__(self, seen: Observation) -> None:
            super().__call__(seen)
            if len(self.seen) == 2:
                raise KeyError

    hook, reports = BrokenLater(1.0), list[tuple[Hook, Exception]]()
    hooks = _hooks(hook, reports=reports)
    hooks.tell_event(_layer(0), 0.0)
    hooks.tell_event(_layer(1), 0.5)
    hooks.tell(PushStarted(_PUSH, 0.6))
    assert [event for _, event in hook.seen] == [_layer(0), _layer(1)]
    assert len(reports) == 1


def test_layers_in_turn_are_held_back_each_and_told_together_when_the_time_has_come() -> None:
    hook = Throttled(1.0)
    hooks = _hooks(hook)
    for tick in range(100):
        for layer in ("sha256:a", "sha256:b", "sha256:c"):
            hooks.tell_event(_layer(tick, layer), tick / 100)
    hooks.tell_event(_layer(100, "sha256:b"), 1.0)
    assert hook.seen == [
        *((0.0, _layer(0, layer)) for layer in ("sha256:a", "sha256:b", "sha256:c")),
        *((0.99, _layer(99, layer)) for layer in ("sha256:a", "sha256:c")),
        (1.0, _layer(100, "sha256:b")),
    ]


def test_what_was_missed_of_several_layers_is_told_in_the_order_of_its_arrival() -> None:
    slow, quick = Throttled(9.0), Throttled(0.5)
    hooks = _hooks(slow, quick)
    events = [(0.0, "a"), (0.0, "b"), (0.1, "a"), (0.2, "b"), (0.6, "b"), (0.7, "a")]
    for elapsed, layer in events:
        hooks.tell_event(_layer(int(10 * elapsed), layer), elapsed)
    hooks.tell(PushStarted(_PUSH, 0.8))
    assert [elapsed for elapsed, _event in slow.seen] == [0.0, 0.0, 0.6, 0.7, 0.8]
    assert [elapsed for elapsed, _event in quick.seen] == [0.0, 0.0, 0.1, 0.6, 0.7, 0.8]


def test_of_more_layers_than_are_counted_nothing_is_held_back() -> None:
    hook = Throttled(1.0)
    hooks = _hooks(hook)
    for number in range(MAX_LAYERS + 1):
        hooks.tell_event(_layer(0, str(number)), 0.0)
    for _again in range(2):
        hooks.tell_event(_layer(1, "0"), 0.0)
        hooks.tell_event(_layer(1, str(MAX_LAYERS)), 0.0)
    assert len(hook.seen) == MAX_LAYERS + 1 + 4
