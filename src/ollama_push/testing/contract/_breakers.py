"""The promises B1 to B6 of stores that keep which registries are ill, each with its proof."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs

from ollama_push.core.registry.breaker import (
    CLOSED,
    BreakerState,
    BreakerStep,
    BreakerStore,
    Sighting,
    close_breaker,
    fail_probe,
    look,
    open_breaker,
    take_probe,
)
from ollama_push.testing.contract._clauses import expect, fail
from ollama_push.testing.contract._places import PlaceClause, PlaceClauseList, run_place_clauses
from ollama_push.testing.contract._resume import logged

__all__ = ["BREAKER_CLAUSES", "BreakerStores", "run_breaker_contract"]

_THREADS: Final = 8
_TURNS: Final = 5
_MOMENT_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 30.0


@attrs.frozen
class BreakerStores:
    """What a proof may build.

    Attributes:
        make: Builds a store as another process would: all of them keep what is known in the same place.
        make_unusable: Builds a store whose place cannot be used; ``None`` where that cannot be.
    """

    make: Callable[[], BreakerStore]
    make_unusable: Callable[[], BreakerStore] | None = None


_CLAUSES: Final = PlaceClauseList[BreakerStores]()


def run_breaker_contract(stores: BreakerStores) -> dict[str, str | None]:
    """Check every clause of stores; return what was seen of each by its name, ``None`` where it is kept."""
    return run_place_clauses(BREAKER_CLAUSES, stores)


def _new_registry() -> str:
    """Return a host that no other proof has used."""
    return f"{uuid.uuid4().hex}.test:5000"


def _seen(store: BreakerStore, registry: str, step: BreakerStep = look) -> Sighting:
    seen = store.change(registry, step)
    if seen is None:
        fail("a store that can be used returned nothing")
    return seen


@_CLAUSES.add("B1", "next process", "what one process changes, the next one sees")
def _next_process(stores: BreakerStores) -> None:
    registry = _new_registry()
    expect(_seen(stores.make(), registry).state == CLOSED, "something is known of a new registry")
    first = _seen(stores.make(), registry, open_breaker(1.0))
    second = _seen(stores.make(), registry)
    expect(second.state.pauses == 1, f"{first.state} was left, and {second.state} found")
    _seen(stores.make(), registry, close_breaker)
    expect(_seen(stores.make(), registry).state == CLOSED, "a breaker that is closed was found")


@_CLAUSES.add("B1", "time", "the times that are left pass, and no faster than they should")
def _time(stores: BreakerStores) -> None:
    registry, began = _new_registry(), time.monotonic()
    _seen(stores.make(), registry, open_breaker(1.0))
    while True:
        seen = _seen(stores.make(), registry)
        passed, left = time.monotonic() - began, seen.state.until - seen.now
        if left <= 0:
            break
        expect(left <= 1.0 and passed < _PATIENCE_SECONDS, f"{left:.3f} s of a second are left after {passed:.3f} s")
        time.sleep(_MOMENT_SECONDS)
    expect(passed >= 1.0 - _MOMENT_SECONDS, f"a pause of a second was over after {passed:.3f} s")


@_CLAUSES.add("B1", "everything", "all that is known is found, unchanged")
def _everything(stores: BreakerStores) -> None:
    registry, who = _new_registry(), "a name \N{SNOWMAN} with : and {}"
    known = BreakerState(7, 60.0, who, 5.0)
    _seen(stores.make(), registry, lambda _known, now: known.moved(now))
    seen = _seen(stores.make(), registry)
    found = seen.state.moved(-seen.now)
    expect((found.pauses, found.prober) == (7, who), f"{known} was left, and {found} found")
    expect(0 < found.probed_until <= 5.0, f"{found.probed_until} s are left of 5")  # noqa: PLR2004 - of the lease


@_CLAUSES.add("B2", "", "registries do not mix")
def _apart(stores: BreakerStores) -> None:
    registry = _new_registry()
    _seen(stores.make(), registry, open_breaker(1.0))
    for other in (f"{registry}0", registry.replace(":5000", ""), registry.upper(), ""):
        expect(_seen(stores.make(), other).state == CLOSED, "another registry is said to be ill")


@_CLAUSES.add("B3", "a race", "of many that take the turn to try at the same time, one gets it")
def _race(stores: BreakerStores) -> None:
    registry = _new_registry()
    _seen(stores.make(), registry, lambda _known, now: BreakerState(1, now))

    def take(number: int) -> bool:
        return _seen(stores.make(), registry, take_probe(f"{number}")).state.prober == f"{number}"

    with ThreadPoolExecutor(_THREADS) as pool:
        winners = sum(pool.map(take, range(_THREADS)))
    expect(winners == 1, f"{winners} of {_THREADS} got it")


@_CLAUSES.add("B3", "every step", "no step is lost while others are taken")
def _every_step(stores: BreakerStores) -> None:
    registry = _new_registry()
    _seen(stores.make(), registry, open_breaker(1.0))

    def count(_number: int) -> None:
        store = stores.make()
        for _ in range(_TURNS):
            _seen(store, registry, lambda known, _now: attrs.evolve(known, pauses=known.pauses + 1))

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(count, range(_THREADS)))
    pauses = _seen(stores.make(), registry).state.pauses
    expect(pauses == 1 + _THREADS * _TURNS, f"of {_THREADS * _TURNS} steps, {pauses - 1} were kept")


@_CLAUSES.add("B4", "", "a step that changes nothing leaves everything as it is")
def _nothing(stores: BreakerStores) -> None:
    registry = _new_registry()
    before = _seen(stores.make(), registry, open_breaker(1.0))
    for step in (look, open_breaker(0.0), fail_probe("nobody", 1.0)):
        seen = _seen(stores.make(), registry, step)
        changed = seen.state.moved(-seen.now) == before.state.moved(-before.now)
        expect(seen.state.pauses == 1, f"{before.state} became {seen.state}")
        expect(not changed or seen.now == before.now, "its pause began again")


@_CLAUSES.add("B5", "", "a place that cannot be used raises nothing, and returns nothing")
def _unusable(stores: BreakerStores) -> None:
    if stores.make_unusable is None:
        return
    store, registry = stores.make_unusable(), _new_registry()
    for step in (look, open_breaker(1.0), take_probe("me"), close_breaker):
        seen = store.change(registry, step)
        expect(seen is None, f"{seen} was found in a place that cannot be used")


@_CLAUSES.add("B6", "", "neither the store's repr nor a log names a registry")
def _names(stores: BreakerStores) -> None:
    for make in (stores.make, stores.make_unusable):
        if make is not None:
            store, registry = make(), _new_registry()
            with logged() as records:
                store.change(registry, open_breaker(1.0))
                store.change(registry, close_breaker)
            shown = [repr(store), str(store), *(record.getMessage() for record in records)]
            expect(not any(registry in text for text in shown), "the name of a registry was shown")


BREAKER_CLAUSES: Final[tuple[PlaceClause[BreakerStores], ...]] = tuple(_CLAUSES)
"""Every clause of stores, by number; several may share one."""
