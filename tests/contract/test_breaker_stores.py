"""Stores that keep which registries are ill: ours keep every clause, and one that breaks a promise is caught."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import pytest
from tests.support.redis_server import RedisServer, needs_redis

from ollama_push.client._guest import LocalBreakerStore
from ollama_push.core.registry.breaker import CLOSED, BreakerState, BreakerStep, BreakerStore, Sighting
from ollama_push.fleet import RedisResumeStore
from ollama_push.testing.contract import BREAKER_CLAUSES, BreakerStores, PlaceClause, run_breaker_contract


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


class _Away:
    """A store without a place."""

    def change(self, _registry: str, _step: BreakerStep, /) -> Sighting | None:
        return None


def _sharing(store: BreakerStore) -> BreakerStores:
    return BreakerStores(lambda: store, _Away)


@pytest.mark.parametrize("clause", BREAKER_CLAUSES, ids=str)
def test_the_board_of_a_process_keeps(clause: PlaceClause[BreakerStores]) -> None:
    store = LocalBreakerStore()
    clause.check(BreakerStores(lambda: store))


@needs_redis
@pytest.mark.process
@pytest.mark.parametrize("clause", BREAKER_CLAUSES, ids=str)
def test_redis_keeps(clause: PlaceClause[BreakerStores], redis_url: str) -> None:
    away = RedisResumeStore("redis://127.0.0.1:1")
    clause.check(BreakerStores(lambda: RedisResumeStore(redis_url).breakers, lambda: away.breakers))


class _Sound(LocalBreakerStore):
    """What the broken ones are made from."""


class _ForgetsEverything(_Sound):
    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        seen = super().change(registry, step)
        super().change(registry, lambda _known, _now: CLOSED)
        return seen


class _Hurries(_Sound):
    def __init__(self) -> None:
        super().__init__(lambda: time.monotonic() * 10)


class _CutsNames(_Sound):
    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        return super().change(registry, lambda known, now: attrs.evolve(step(known, now), prober=""))


class _MixesRegistries(_Sound):
    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        return super().change(registry.lower(), step)


class _TakesNoTurns(_Sound):
    """Reads, thinks, and writes."""

    def __init__(self) -> None:
        super().__init__()
        self._everybody = threading.Barrier(8)

    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        seen = super().change(registry, lambda known, _now: known)
        then = step(seen.state, seen.now)
        if seen.state.is_open and then != seen.state:
            self._everybody.wait()
        return super().change(registry, lambda _known, _now: then)


class _BeginsAgain(_Sound):
    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        def again(known: BreakerState, now: float) -> BreakerState:
            then = step(known, now)
            return attrs.evolve(then, pauses=then.pauses + 1) if then == known and then.is_open else then

        return super().change(registry, again)


class _Raises(_Sound):
    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        raise OSError("no route")


class _Shows(_Sound):
    def change(self, registry: str, step: BreakerStep, /) -> Sighting:
        logging.getLogger("store").info("changing %s", registry)
        return super().change(registry, step)


_CAUGHT: Final[list[tuple[str, Callable[[], Any], str]]] = [
    ("B1 next process", _ForgetsEverything, "was left, and"),
    ("B1 time", _Hurries, "was over after"),
    ("B1 everything", _CutsNames, "was left, and"),
    ("B2", _MixesRegistries, "another registry is said to be ill"),
    ("B3 a race", _TakesNoTurns, "8 of 8 got it"),
    ("B3 every step", _TakesNoTurns, "of 40 steps"),
    ("B4", _BeginsAgain, "became"),
    ("B6", _Shows, "the name of a registry was shown"),
]
_BY_NAME: Final = {str(clause): clause for clause in BREAKER_CLAUSES}


@pytest.mark.parametrize(("name", "kind", "seen"), _CAUGHT)
def test_a_broken_promise_is_caught(name: str, kind: Callable[[], Any], seen: str) -> None:
    with pytest.raises(AssertionError, match=seen):
        _BY_NAME[name].check(_sharing(kind()))


@pytest.mark.parametrize(("kind", "seen"), [(_Raises, "no route"), (_Sound, "was found in a place that cannot be")])
def test_a_place_that_cannot_be_used_and_harms_pushes_is_caught(kind: Callable[[], Any], seen: str) -> None:
    with pytest.raises(AssertionError, match=seen):
        _BY_NAME["B5"].check(BreakerStores(_Sound, kind))


def test_every_clause_is_proved_able_to_fail() -> None:
    assert {name for name, *_ in _CAUGHT} | {"B5"} == set(_BY_NAME)


def test_every_promise_of_the_port_has_a_clause() -> None:
    promised = re.findall(r"^ *(B\d+) ", BreakerStore.__doc__ or "", re.MULTILINE)
    assert list(dict.fromkeys(clause.number for clause in BREAKER_CLAUSES)) == promised


def test_the_results_tell_kept_from_broken() -> None:
    results = run_breaker_contract(_sharing(_MixesRegistries()))
    assert [name for name, seen in results.items() if seen is not None] == ["B2"]
