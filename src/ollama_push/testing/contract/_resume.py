"""The promises R1 to R8 of resume stores, each with its proof."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import attrs

from ollama_push.core.registry.resume import (
    InUseElsewhere,
    LeasedResumeStore,
    ResumePoint,
    ResumeStore,
    SentPart,
    UploadKey,
)
from ollama_push.testing.contract._clauses import expect, prove

__all__ = [
    "RESUME_CLAUSES",
    "MakeResumeStore",
    "ResumeClause",
    "ResumeClauseResult",
    "logged",
    "run_resume_contract",
]

MakeResumeStore = Callable[[], ResumeStore]
"""Builds a store as another process would: all of them keep uploads in the same place."""

_SECRET: Final = "s3cret-of-a-session"  # noqa: S105 - nobody's
_LIMIT_SECONDS: Final = 60.0
_THREADS: Final = 8
_SAVES: Final = 10


@attrs.frozen
class _Stores:
    """What a proof may build.

    Attributes:
        make: Stores that share one place.
        make_unusable: Stores whose place cannot be used.
    """

    make: MakeResumeStore
    make_unusable: MakeResumeStore


@attrs.frozen
class ResumeClause:
    """One promise of resume stores, and the proof of it.

    Attributes:
        number: ``"R1"`` to ``"R8"``, as in :class:`~ollama_push.core.registry.resume.ResumeStore`.
        case: Which case of the promise; empty when there is only one.
        promise: What a store must do.
        proof: Uses stores; raises ``AssertionError`` when the promise is broken.
    """

    number: str
    case: str
    promise: str
    proof: Callable[[_Stores], None] = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.number} {self.case}".rstrip()

    def check(self, make: MakeResumeStore, make_unusable: MakeResumeStore) -> None:
        """Check the stores that *make* builds.

        Args:
            make: Builds a store as another process would: all of them keep uploads in the same place.
            make_unusable: Builds a store whose place cannot be used: a full disk, a server that is away.

        Raises:
            AssertionError: The promise is broken; the text says what was seen.
        """
        prove(lambda: self.proof(_Stores(make, make_unusable)), "store", _LIMIT_SECONDS)


@attrs.frozen
class ResumeClauseResult:
    """The result of one clause.

    Attributes:
        clause: The clause.
        failure: What was seen instead of what was promised; ``None`` when the promise was kept.
    """

    clause: ResumeClause
    failure: str | None


class _ClauseList(list[ResumeClause]):
    def add(self, number: str, case: str, promise: str) -> Callable[[Callable[[_Stores], None]], None]:
        return lambda proof: self.append(ResumeClause(number, case, promise, proof))


def run_resume_contract(make: MakeResumeStore, make_unusable: MakeResumeStore) -> list[ResumeClauseResult]:
    """Check every clause and return the results in order; the arguments are those of ``ResumeClause.check``."""
    results = []
    for clause in RESUME_CLAUSES:
        failure = None
        try:
            clause.check(make, make_unusable)
        except AssertionError as exc:
            failure = str(exc)
        results.append(ResumeClauseResult(clause, failure))
    return results


_CLAUSES = _ClauseList()


def _new_key() -> UploadKey:
    """Return a key that no other proof has used."""
    return UploadKey("https://registry.test:5000", f"team/{uuid.uuid4().hex}", f"sha256:{uuid.uuid4().hex * 2}")


def _point(offset: int) -> ResumePoint:
    return ResumePoint(f"https://registry.test:5000/v2/team/uploads/1?_state={_SECRET}%3D&n=\N{SNOWMAN}", offset)


_POINT: Final = _point(7 * 1024**4)


def _claimed(store: ResumeStore, key: UploadKey) -> ResumePoint | None:
    """Claim *key*, which must be free, and return the resume point."""
    found = store.claim(key)
    expect(not isinstance(found, InUseElsewhere), "a free key is said to be in use")
    return found if isinstance(found, ResumePoint) else None


def _found_next(make: MakeResumeStore, key: UploadKey) -> ResumePoint | None:
    """Return what the next process finds under *key*, which must be free."""
    store = make()
    found = _claimed(store, key)
    store.release(key)
    return found


def _expect_nothing(store: ResumeStore, key: UploadKey, why: str) -> None:
    """Expect that *store* finds nothing to resume, and release what it may have claimed."""
    found = store.claim(key)
    expect(not isinstance(found, ResumePoint), f"{why}, and got {found}")
    if not isinstance(found, InUseElsewhere):
        store.release(key)


def _kept(make: MakeResumeStore, key: UploadKey, point: ResumePoint = _POINT) -> None:
    """Keep *point* as a process does that ends in the middle of an upload."""
    store = make()
    expect(_claimed(store, key) is None, "something is kept under a new key")
    store.save(key, point)
    store.release(key)


@_CLAUSES.add("R1", "next process", "what was saved is found by the next one, unchanged")
def _next_process(stores: _Stores) -> None:
    key = _new_key()
    _kept(stores.make, key)
    found = _found_next(stores.make, key)
    expect(found == _POINT, f"{_POINT} was saved, and {found} found")
    expect(_found_next(stores.make, key) == _POINT, "it was gone after it had been found once")


@_CLAUSES.add("R1", "parts", "the parts of an upload are found by the next one, unchanged")
def _parts(stores: _Stores) -> None:
    url = f"https://registry.test:5000/v2/team/uploads/1?_state={_SECRET}%22&n=\N{SNOWMAN}"
    sent = tuple(SentPart(f"{url}{n}", n * 1024**4, 1024**4, "0f" * 16 if n % 2 else "") for n in range(100))
    key, point = _new_key(), attrs.evolve(_POINT, parts=sent)
    _kept(stores.make, key, point)
    expect(_found_next(stores.make, key) == point, "the parts were changed")


@_CLAUSES.add("R1", "last save", "the last save counts")
def _last_save(stores: _Stores) -> None:
    key, store = _new_key(), stores.make()
    _claimed(store, key)
    for offset in (5, 9, 7):
        store.save(key, _point(offset))
    store.release(key)
    found = _found_next(stores.make, key)
    expect(found == _point(7), f"the last save was of 7 bytes, and {found} was found")


@_CLAUSES.add("R2", "", "origin, repository and digest tell uploads apart")
def _apart(stores: _Stores) -> None:
    key = _new_key()
    _kept(stores.make, key)
    others = (
        key._replace(origin="http://registry.test:5000"),
        key._replace(repository=f"{key.repository}/more"),
        key._replace(digest=f"sha512:{uuid.uuid4().hex * 4}"),
    )
    for other in others:
        _expect_nothing(stores.make(), other, "another upload was claimed")


@_CLAUSES.add("R3", "nothing to resume", "a key that another process has offers nothing to resume")
def _one_at_a_time(stores: _Stores) -> None:
    key = _new_key()
    _kept(stores.make, key)
    holder, other = stores.make(), stores.make()
    _claimed(holder, key)
    _expect_nothing(other, key, "another process had the key")
    _expect_nothing(holder, key, "the same store had the key")
    holder.release(key)
    expect(_claimed(other, key) == _POINT, "the key was not free after its release")
    other.release(key)


@_CLAUSES.add("R3", "nothing changes", "who has not got the key changes nothing of it")
def _nothing_changes(stores: _Stores) -> None:
    key, holder, other = _new_key(), stores.make(), stores.make()
    _claimed(holder, key)
    holder.save(key, _POINT)
    found = other.claim(key)
    other.save(key, _point(1))
    other.forget(key)
    if not isinstance(found, InUseElsewhere):
        other.release(key)
    _expect_nothing(stores.make(), key, "another process had released the key of its holder")
    holder.release(key)
    found = _found_next(stores.make, key)
    expect(found == _POINT, f"the holder had saved {_POINT}, and {found} was found")


@_CLAUSES.add("R3", "a race", "of many that claim a key at the same time, one gets it")
def _race(stores: _Stores) -> None:
    key = _new_key()
    _kept(stores.make, key)
    racers = [stores.make() for _ in range(_THREADS)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda store: store.claim(key), racers))
    winners = [one for one in found if isinstance(one, ResumePoint)]
    for store, one in zip(racers, found, strict=True):
        if not isinstance(one, InUseElsewhere):
            store.release(key)
    expect(len(winners) == 1, f"{len(winners)} of {_THREADS} got it")


@_CLAUSES.add("R4", "", "what is forgotten is gone, and the claim stays")
def _forgotten(stores: _Stores) -> None:
    key = _new_key()
    _kept(stores.make, key)
    store = stores.make()
    _claimed(store, key)
    store.forget(key)
    store.forget(key)
    other = stores.make()
    found = other.claim(key)
    other.save(key, _point(1))
    if not isinstance(found, InUseElsewhere):
        other.release(key)
    store.release(key)
    _expect_nothing(stores.make(), key, "the upload was forgotten")
    _claimed(store, key)
    store.forget(key)
    store.save(key, _point(3))
    store.release(key)
    expect(_found_next(stores.make, key) == _point(3), "what was saved behind it was not kept")


@_CLAUSES.add("R5", "", "without a claim nothing is kept, forgotten or released")
def _without_a_claim(stores: _Stores) -> None:
    key, free = _new_key(), _new_key()
    _kept(stores.make, key)
    stranger = stores.make()
    stranger.save(free, _POINT)
    stranger.forget(key)
    stranger.release(key)
    _expect_nothing(stores.make(), free, "something was saved without a claim")
    holder = stores.make()
    expect(_claimed(holder, key) == _POINT, "it was forgotten without a claim")
    stranger.release(key)
    _expect_nothing(stores.make(), key, "another store had released it without a claim")
    leased = holder if isinstance(holder, LeasedResumeStore) else None
    expect(leased is None or leased.holds(key), "the holder is said to have lost its claim")
    holder.release(key)
    expect(leased is None or not leased.holds(key), "a released key is said to be held")


@_CLAUSES.add("R6", "", "threads may use one store at the same time")
def _threads(stores: _Stores) -> None:
    store, keys = stores.make(), [_new_key() for _ in range(_THREADS)]

    def work(key: UploadKey) -> None:
        for offset in range(1, _SAVES + 1):
            store.claim(key)
            store.save(key, _point(offset))
            store.release(key)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, keys))
    for key in keys:
        found = _found_next(stores.make, key)
        expect(found == _point(_SAVES), f"{_point(_SAVES)} was saved by a thread, and {found} found")


@_CLAUSES.add("R7", "", "a store that cannot be used raises nothing, finds nothing, and asks for no waiting")
def _unusable(stores: _Stores) -> None:
    key, store = _new_key(), stores.make_unusable()
    for _ in range(2):
        found = store.claim(key)
        expect(found is None, f"{found!r} was found in a place that cannot be used")
        store.save(key, _POINT)
        if isinstance(store, LeasedResumeStore):
            expect(store.holds(key), "a push without a store is told not to send")
        store.forget(key)
        store.release(key)


@_CLAUSES.add("R8", "", "neither the store's repr nor a log shows the secret of a session")
def _secrets(stores: _Stores) -> None:
    for make in (stores.make, stores.make_unusable):
        key, store = _new_key(), make()
        with logged() as records:
            store.claim(key)
            store.save(key, _POINT)
            store.release(key)
            store.claim(key)
            store.release(key)
        shown = [repr(store), str(store), *(record.getMessage() for record in records)]
        expect(not any(_SECRET in text for text in shown), "the query of a session's URL was shown")


@contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """Yield a list of what anybody logs in the block."""
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    root, keeper = logging.getLogger(), Keeper()
    before = root.level
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        root.setLevel(before)
        root.removeHandler(keeper)


RESUME_CLAUSES: Final[tuple[ResumeClause, ...]] = tuple(_CLAUSES)
"""Every clause of resume stores, by number; several may share one."""
