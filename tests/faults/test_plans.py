"""A few plans; ``make faults`` carries out hundreds, and ``make soak`` thousands."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from tests.faults.laboratory import run_plan
from tests.faults.machines import HAS_REDIS, SmallDisk, may_mount
from tests.faults.plans import (
    Act,
    Damage,
    Disk,
    Event,
    Login,
    Plan,
    RegistryHabit,
    Task,
    Way,
    Wire,
    WireFault,
    plan_of,
    shrunk,
    smaller_plans,
    written,
)
from tests.support.blobs import digest_of

from ollama_push.testing.registry import BrokenPartPolicy, Quirks

pytestmark = pytest.mark.slow

FEW = 10

QUIET = Plan(
    seed=1,
    way=Way.SYNC,
    login=Login.NONE,
    policy=BrokenPartPolicy.KEEPS_BROKEN_PARTS,
    layers=(100_000, 300_000),
    part_bytes=128 * 1024,
    concurrency=2,
    verify=False,
)
CLOSED = WireFault(Damage.CLOSE, 1, upstream=True, after=5)
needs_redis = pytest.mark.skipif(not HAS_REDIS, reason="Redis is not installed: apt-get install redis-server")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket in it has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        yield Path(name)


@pytest.mark.parametrize("seed", range(FEW))
def test_a_plan_holds(seed: int, folder: Path) -> None:
    assert run_plan(plan_of(seed), folder) == []


@pytest.mark.parametrize("way", [way for way in Way if way is not Way.REPLICAS])
def test_a_quiet_plan_holds_each_way(way: Way, folder: Path) -> None:
    assert run_plan(attrs.evolve(QUIET, way=way), folder) == []


@needs_redis
def test_a_quiet_plan_holds_with_replicas(folder: Path) -> None:
    assert run_plan(attrs.evolve(QUIET, way=Way.REPLICAS, redis=True), folder) == []


@pytest.mark.parametrize("task", [task for task in Task if task is not Task.PULL])
@pytest.mark.parametrize("way", [Way.SYNC, Way.ASYNC])
def test_a_quiet_plan_holds_for_each_task(way: Way, task: Task, folder: Path) -> None:
    assert run_plan(attrs.evolve(QUIET, way=way, task=task, login=Login.TOKEN), folder) == []


def test_a_quiet_pull_holds(folder: Path) -> None:
    assert run_plan(attrs.evolve(QUIET, way=Way.SYNC_GATEWAY, task=Task.PULL), folder) == []


@pytest.mark.parametrize("task", Task)
def test_a_quiet_plan_holds_while_another_does_the_same(task: Task, folder: Path) -> None:
    way = Way.SYNC_GATEWAY if task is Task.PULL else Way.ASYNC
    assert run_plan(attrs.evolve(QUIET, way=way, task=task, rival=True), folder) == []


def test_a_success_without_the_model_is_found(folder: Path) -> None:
    """A registry loses a blob, and the push does not look: the laboratory does."""
    plan = attrs.evolve(QUIET, layers=(100_000,))
    lost = digest_of(random.Random(plan.seed).randbytes(100_000))
    found = run_plan(plan, folder, Quirks(loses_blobs={lost}))
    assert "the first run is a success, but the registry lacks a blob of 100000 bytes" in found


def test_a_plan_that_fails_is_shrunk_to_what_it_fails_for() -> None:
    lost = digest_of(random.Random(QUIET.seed).randbytes(100_000))
    plan = attrs.evolve(
        QUIET,
        login=Login.BASIC,
        habit=RegistryHabit.RELATIVE,
        layers=(100_000, 5, 300_000),
        wire=(CLOSED, attrs.evolve(CLOSED, connection=2)),
        events=(Event(Act.JUMP, 100, 3600.0), Event(Act.EXPIRE, 7)),
    )

    def fails(smaller: Plan) -> bool:
        with tempfile.TemporaryDirectory(prefix="faults-") as name:
            return any("lacks a blob" in found for found in run_plan(smaller, Path(name), Quirks(loses_blobs={lost})))

    smallest = shrunk(plan, fails)
    assert smallest == attrs.evolve(QUIET, layers=(100_000, 300_000), concurrency=1)


@pytest.mark.skipif(not may_mount(), reason="this user may not mount disks")
@pytest.mark.parametrize("habit", RegistryHabit)
def test_a_registry_whose_disk_is_full_says_so(habit: RegistryHabit, folder: Path) -> None:
    """Found by the fault laboratory: ours took a part of what went to signed URLs, and said that it had all."""
    full = Event(Act.FULL_DISK, -1, 0.5, Disk.REGISTRY)
    assert run_plan(attrs.evolve(QUIET, habit=habit, events=(full,)), folder) == []


def test_a_seed_is_one_plan() -> None:
    assert [plan_of(seed) for seed in range(200)] == [plan_of(seed) for seed in range(200)]
    assert len({written(plan_of(seed)) for seed in range(200)}) == 200


def test_everything_is_planned() -> None:
    plans = [plan_of(seed) for seed in range(500)]
    assert {plan.way for plan in plans} == {*Way}
    assert {plan.task for plan in plans} == {*Task}
    assert {plan.habit for plan in plans} == {*RegistryHabit}
    assert {fault.damage for plan in plans for fault in plan.wire} == {*Damage}
    assert {(fault.wire, fault.upstream) for plan in plans for fault in plan.wire if fault.damage is Damage.FLIP} == {
        (wire, upstream) for wire in Wire for upstream in (True, False)
    }
    events = [event for plan in plans for event in plan.events]
    assert {event.act for event in events} == {*Act}
    assert {event.disk for event in events if event.act is Act.FULL_DISK} == {*Disk}


def test_a_smaller_plan_has_one_thing_less() -> None:
    plan = attrs.evolve(
        QUIET,
        login=Login.BASIC,
        habit=RegistryHabit.RELATIVE,
        rival=True,
        wire=(CLOSED,),
        events=(Event(Act.EXPIRE, 7),),
    )
    smaller = [*smaller_plans(plan)]
    assert attrs.evolve(plan, wire=()) in smaller
    assert attrs.evolve(plan, events=()) in smaller
    assert attrs.evolve(plan, layers=(300_000,)) in smaller
    assert attrs.evolve(plan, login=Login.NONE) in smaller
    assert attrs.evolve(plan, habit=RegistryHabit.PLAIN) in smaller
    assert attrs.evolve(plan, rival=False) in smaller
    assert attrs.evolve(plan, concurrency=1) in smaller
    assert len(smaller) == 7


@pytest.mark.skipif(not may_mount(), reason="this user may not mount disks")
def test_a_small_disk_is_full_and_grows(folder: Path) -> None:
    disk = SmallDisk(folder / "disk", 4096)
    try:
        with pytest.raises(OSError, match="No space left"):
            (folder / "disk" / "file").write_bytes(bytes(100_000))
        disk.grow()
        (folder / "disk" / "file").write_bytes(bytes(100_000))
    finally:
        disk.close()
    assert not (folder / "disk" / "file").exists()
