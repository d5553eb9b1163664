"""Carries out many plans: ``python -m tests.faults [--plans N] [--first SEED] [--jobs N]``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import attrs
from tests.faults.laboratory import run_plan
from tests.faults.machines import own_mounts
from tests.faults.plans import Plan, plan_of, shrunk, written


@attrs.frozen
class _Result:
    """What became of the plan of *seed*: what did not hold, and the smallest plan found that does not hold either."""

    seed: int
    problems: list[str]
    smallest: str = ""


def result_of(seed: int) -> _Result:
    """Carry out the plan of *seed*, and shrink it if something does not hold."""
    plan = plan_of(seed)
    problems = _problems_of(plan)
    return _Result(seed, problems, written(shrunk(plan, _fails)) if problems else "")


def _problems_of(plan: Plan) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        try:
            return run_plan(plan, Path(folder))
        except Exception as exc:  # noqa: BLE001 - of the laboratory; the seed is what is wanted then, too
            return [f"the laboratory itself: {exc!r}"]


def _fails(plan: Plan, tries: int = 3) -> bool:
    """Say whether *plan* fails in one of a few tries, for chance has a part."""
    return any(_problems_of(plan) for _ in range(tries))


def _prepare() -> None:
    own_mounts()
    # The servers' words on damaged requests.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _counts(what: str, names: Iterable[str]) -> str:
    return f"{what}: " + ", ".join(f"{name} {count}" for name, count in Counter(names).most_common())


def _summary(plans: Iterable[Plan]) -> str:
    """Say of which kinds *plans* were."""
    plans = list(plans)
    return "\n".join(
        [
            _counts("ways", (plan.way.value for plan in plans)),
            _counts("tasks", (plan.task.value for plan in plans)),
            _counts("damage", (fault.damage.value for plan in plans for fault in plan.wire)),
            _counts("between", (fault.wire.value for plan in plans for fault in plan.wire)),
            _counts("machines", (event.act.value for plan in plans for event in plan.events)),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--plans", type=int, default=500, help="how many; default: 500")
    parser.add_argument("--first", type=int, default=0, help="the first seed; default: 0")
    parser.add_argument("--jobs", type=int, default=4, help="at the same time; default: 4")
    given = parser.parse_args()
    start, failed, seeds = time.monotonic(), 0, range(given.first, given.first + given.plans)
    with ProcessPoolExecutor(given.jobs, initializer=_prepare) as pool:
        for result in pool.map(result_of, seeds):
            if result.problems:
                failed += 1
                _say(f"seed {result.seed}: {'; '.join(result.problems)}\n  {result.smallest}")
    _say(_summary(map(plan_of, seeds)))
    _say(f"{given.plans} plans, {failed} failed, {time.monotonic() - start:.0f} s")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
