"""The promises I1 to I6 of boards that keep which registries are ill, each with its proof."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs

from ollama_push.core.registry.illness import (
    WELL,
    Illness,
    IllnessBoard,
    IllnessStep,
    Sighting,
    fail_try,
    fall_ill,
    get_well,
    look,
    take_try,
)
from ollama_push.testing.contract._clauses import expect, fail
from ollama_push.testing.contract._places import PlaceClause, PlaceClauseList, run_place_clauses
from ollama_push.testing.contract._resume import logged

__all__ = ["ILLNESS_CLAUSES", "IllnessBoards", "run_illness_contract"]

_THREADS: Final = 8
_TURNS: Final = 5
_MOMENT_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 30.0


@attrs.frozen
class IllnessBoards:
    """What a proof may build.

    Attributes:
        make: Builds a board as another process would: all of them keep what is known in the same place.
        make_unusable: Builds a board whose place cannot be used; ``None`` where that cannot be.
    """

    make: Callable[[], IllnessBoard]
    make_unusable: Callable[[], IllnessBoard] | None = None


_CLAUSES: Final = PlaceClauseList[IllnessBoards]()


def run_illness_contract(boards: IllnessBoards) -> dict[str, str | None]:
    """Check every clause of boards; return what was seen of each by its name, ``None`` where it is kept."""
    return run_place_clauses(ILLNESS_CLAUSES, boards)


def _new_registry() -> str:
    """Return a host that no other proof has used."""
    return f"{uuid.uuid4().hex}.test:5000"


def _seen(board: IllnessBoard, registry: str, step: IllnessStep = look) -> Sighting:
    seen = board.change(registry, step)
    if seen is None:
        fail("a board that can be used returned nothing")
    return seen


@_CLAUSES.add("I1", "next process", "what one process changes, the next one sees")
def _next_process(boards: IllnessBoards) -> None:
    registry = _new_registry()
    expect(_seen(boards.make(), registry).illness == WELL, "something is known of a new registry")
    first = _seen(boards.make(), registry, fall_ill(1.0))
    second = _seen(boards.make(), registry)
    expect(second.illness.pauses == 1, f"{first.illness} was left, and {second.illness} found")
    _seen(boards.make(), registry, get_well)
    expect(_seen(boards.make(), registry).illness == WELL, "an illness that is over was found")


@_CLAUSES.add("I1", "time", "the times that are left pass, and no faster than they should")
def _time(boards: IllnessBoards) -> None:
    registry, began = _new_registry(), time.monotonic()
    _seen(boards.make(), registry, fall_ill(1.0))
    while True:
        seen = _seen(boards.make(), registry)
        passed, left = time.monotonic() - began, seen.illness.until - seen.now
        if left <= 0:
            break
        expect(left <= 1.0 and passed < _PATIENCE_SECONDS, f"{left:.3f} s of a second are left after {passed:.3f} s")
        time.sleep(_MOMENT_SECONDS)
    expect(passed >= 1.0 - _MOMENT_SECONDS, f"a pause of a second was over after {passed:.3f} s")


@_CLAUSES.add("I1", "everything", "all that is known is found, unchanged")
def _everything(boards: IllnessBoards) -> None:
    registry, who = _new_registry(), "a name \N{SNOWMAN} with : and {}"
    known = Illness(7, 60.0, who, 5.0)
    _seen(boards.make(), registry, lambda _known, now: known.moved(now))
    seen = _seen(boards.make(), registry)
    found = seen.illness.moved(-seen.now)
    expect((found.pauses, found.trier) == (7, who), f"{known} was left, and {found} found")
    expect(0 < found.tries_until <= 5.0, f"{found.tries_until} s are left of 5")  # noqa: PLR2004 - of the lease


@_CLAUSES.add("I2", "", "registries do not mix")
def _apart(boards: IllnessBoards) -> None:
    registry = _new_registry()
    _seen(boards.make(), registry, fall_ill(1.0))
    for other in (f"{registry}0", registry.replace(":5000", ""), registry.upper(), ""):
        expect(_seen(boards.make(), other).illness == WELL, "another registry is said to be ill")


@_CLAUSES.add("I3", "a race", "of many that take the turn to try at the same time, one gets it")
def _race(boards: IllnessBoards) -> None:
    registry = _new_registry()
    _seen(boards.make(), registry, lambda _known, now: Illness(1, now))

    def take(number: int) -> bool:
        return _seen(boards.make(), registry, take_try(f"{number}")).illness.trier == f"{number}"

    with ThreadPoolExecutor(_THREADS) as pool:
        winners = sum(pool.map(take, range(_THREADS)))
    expect(winners == 1, f"{winners} of {_THREADS} got it")


@_CLAUSES.add("I3", "every step", "no step is lost while others are taken")
def _every_step(boards: IllnessBoards) -> None:
    registry = _new_registry()
    _seen(boards.make(), registry, fall_ill(1.0))

    def count(_number: int) -> None:
        board = boards.make()
        for _ in range(_TURNS):
            _seen(board, registry, lambda known, _now: attrs.evolve(known, pauses=known.pauses + 1))

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(count, range(_THREADS)))
    pauses = _seen(boards.make(), registry).illness.pauses
    expect(pauses == 1 + _THREADS * _TURNS, f"of {_THREADS * _TURNS} steps, {pauses - 1} were kept")


@_CLAUSES.add("I4", "", "a step that changes nothing leaves everything as it is")
def _nothing(boards: IllnessBoards) -> None:
    registry = _new_registry()
    before = _seen(boards.make(), registry, fall_ill(1.0))
    for step in (look, fall_ill(0.0), fail_try("nobody", 1.0)):
        seen = _seen(boards.make(), registry, step)
        changed = seen.illness.moved(-seen.now) == before.illness.moved(-before.now)
        expect(seen.illness.pauses == 1, f"{before.illness} became {seen.illness}")
        expect(not changed or seen.now == before.now, "its pause began again")


@_CLAUSES.add("I5", "", "a place that cannot be used raises nothing, and returns nothing")
def _unusable(boards: IllnessBoards) -> None:
    if boards.make_unusable is None:
        return
    board, registry = boards.make_unusable(), _new_registry()
    for step in (look, fall_ill(1.0), take_try("me"), get_well):
        seen = board.change(registry, step)
        expect(seen is None, f"{seen} was found in a place that cannot be used")


@_CLAUSES.add("I6", "", "neither the board's repr nor a log names a registry")
def _names(boards: IllnessBoards) -> None:
    for make in (boards.make, boards.make_unusable):
        if make is not None:
            board, registry = make(), _new_registry()
            with logged() as records:
                board.change(registry, fall_ill(1.0))
                board.change(registry, get_well)
            shown = [repr(board), str(board), *(record.getMessage() for record in records)]
            expect(not any(registry in text for text in shown), "the name of a registry was shown")


ILLNESS_CLAUSES: Final[tuple[PlaceClause[IllnessBoards], ...]] = tuple(_CLAUSES)
"""Every clause of boards, by number; several may share one."""
