"""A few plans; ``make faults`` carries out hundreds, and ``make soak`` thousands."""

from __future__ import annotations

import random
from pathlib import Path

import attrs
import pytest
from tests.faults.laboratory import run_plan
from tests.faults.plans import Act, Damage, Event, Login, Plan, Way, WireFault, plan_of, smaller_plans, written
from tests.support.blobs import digest_of

from ollama_push.testing.registry import BrokenPartPolicy, Quirks

FEW = 8

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


@pytest.mark.parametrize("seed", range(FEW))
def test_a_plan_holds(seed: int, tmp_path: Path) -> None:
    assert run_plan(plan_of(seed), tmp_path) == []


@pytest.mark.parametrize("way", Way)
def test_a_quiet_plan_holds_each_way(way: Way, tmp_path: Path) -> None:
    assert run_plan(attrs.evolve(QUIET, way=way), tmp_path) == []


def test_a_success_without_the_model_is_found(tmp_path: Path) -> None:
    """A registry loses a blob, and the push does not look: the laboratory does."""
    plan = attrs.evolve(QUIET, layers=(100_000,))
    lost = digest_of(random.Random(plan.seed).randbytes(100_000))
    found = run_plan(plan, tmp_path, Quirks(loses_blobs={lost}))
    assert "the first push is a success, but the registry lacks a blob of 100000 bytes" in found


def test_a_seed_is_one_plan() -> None:
    assert [plan_of(seed) for seed in range(200)] == [plan_of(seed) for seed in range(200)]
    assert len({written(plan_of(seed)) for seed in range(200)}) == 200


def test_everything_is_planned() -> None:
    plans = [plan_of(seed) for seed in range(500)]
    assert {plan.way for plan in plans} == {*Way}
    assert {fault.damage for plan in plans for fault in plan.wire} == {*Damage}
    assert {event.act for plan in plans for event in plan.events} == {*Act}


def test_a_smaller_plan_has_one_thing_less() -> None:
    plan = attrs.evolve(
        QUIET,
        login=Login.BASIC,
        wire=(WireFault(Damage.CLOSE, 1, upstream=True, after=5),),
        events=(Event(Act.EXPIRE, 7),),
    )
    smaller = [*smaller_plans(plan)]
    assert attrs.evolve(plan, wire=()) in smaller
    assert attrs.evolve(plan, events=()) in smaller
    assert attrs.evolve(plan, layers=(300_000,)) in smaller
    assert attrs.evolve(plan, login=Login.NONE) in smaller
    assert attrs.evolve(plan, concurrency=1) in smaller
    assert len(smaller) == 5
