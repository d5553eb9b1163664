"""Carries out many plans: ``python -m tests.faults [--plans N] [--first SEED] [--jobs N]``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.faults.laboratory import run_plan
from tests.faults.plans import Plan, plan_of, smaller_plans, written


def problems_of(seed: int) -> tuple[int, list[str]]:
    """Carry out the plan of *seed*."""
    with tempfile.TemporaryDirectory() as folder:
        return seed, run_plan(plan_of(seed), Path(folder))


def shrunk(plan: Plan, tries: int = 3) -> Plan:
    """Return the smallest plan found that does not hold either; each is tried a few times, for chance has a part."""

    def fails(smaller: Plan) -> bool:
        for _ in range(tries):
            with tempfile.TemporaryDirectory() as folder:
                if run_plan(smaller, Path(folder)):
                    return True
        return False

    while (found := next(filter(fails, smaller_plans(plan)), None)) is not None:
        plan = found
    return plan


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--plans", type=int, default=500, help="how many; default: 500")
    parser.add_argument("--first", type=int, default=0, help="the first seed; default: 0")
    parser.add_argument("--jobs", type=int, default=4, help="at the same time; default: 4")
    given = parser.parse_args()
    # The servers' words on damaged requests.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    start, failed = time.monotonic(), 0
    with ProcessPoolExecutor(given.jobs) as pool:
        for seed, problems in pool.map(problems_of, range(given.first, given.first + given.plans)):
            if problems:
                failed += 1
                say(f"seed {seed}: {'; '.join(problems)}\n  {written(shrunk(plan_of(seed)))}")
    say(f"{given.plans} plans, {failed} failed, {time.monotonic() - start:.0f} s")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
