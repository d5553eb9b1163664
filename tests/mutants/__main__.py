"""Mutates the core and runs its tests: ``python -m tests.mutants [--changed] [--minutes N] [PATH ...]``.

Fails for each survivor that is not listed in ``tests/data/surviving_mutants.json``, and when fewer than 92 % of the
mutants are noticed, by a test or by mypy; both in the modules that this file has gone through.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Final

from tests.mutants import changes, runs
from tests.mutants.mutations import CORE, ROOT, Mutant, mutants_of
from tests.mutants.runs import Part, Pool, Tell
from tests.mutants.survivors import Survivors, listed
from tests.mutants.type_check import TypeChecker

SHARE: Final = 0.92

# Of the time that is given, when each step has to be over: functions exchanged in place, then what is imported anew.
_FIRST: Final = (0.4, 0.6)
_REST: Final = (0.8, 0.9)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def modules(given: Sequence[Path]) -> list[Path]:
    found = [path.resolve() for path in given] or [CORE]
    return [file for path in found for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


def of_the_change() -> list[Mutant]:
    """Return the mutants of the modules that the change touches, those of the changed lines first."""
    since = changes.base()
    if since is None:
        say("No earlier commit to compare with: mutates modules in an order drawn by the commit, while there is time.")
        files = modules([])
        random.Random(changes.head()).shuffle(files)
        return [mutant for file in files for mutant in mutants_of(file)]
    lines = changes.changed_lines(since)
    say(f"Modules of the core that changed since {since[:12]}: {len(lines)}.")
    mutants = [mutant for file in sorted(lines) for mutant in mutants_of(file)]
    return sorted(mutants, key=lambda mutant: mutant.number not in lines[ROOT / mutant.path])


def run_all(mutants: Sequence[Mutant], jobs: int, until: float) -> dict[Mutant, str]:
    """Return for each mutant that there was time for whether it was killed, refused by mypy, or survived."""
    ended: dict[Mutant, str] = {}
    begun = time.time()

    def pool(share: float) -> Pool:
        return Pool(jobs, begun + share * (until - begun))

    def recorded(run: Sequence[Mutant]) -> Tell:
        return lambda index, how: ended.update({run[index]: how})

    with tempfile.TemporaryDirectory() as folder:
        tests = runs.touched(Path(folder, "coverage"))
    in_place = [mutant for mutant in mutants if not mutant.at_import]
    imported = [mutant for mutant in mutants if mutant.at_import]
    runs.run_in_place(in_place, tests, Part.FIRST, pool(_FIRST[0]), recorded(in_place))
    runs.run_imported(imported, tests, Part.FIRST, pool(_FIRST[1]), recorded(imported))
    refuse(ended)
    left = [mutant for mutant, how in ended.items() if how == "survived"]
    for mutant in left:
        del ended[mutant]
    in_place = [mutant for mutant in left if not mutant.at_import]
    runs.run_in_place(in_place, tests, Part.REST, pool(_REST[0]), recorded(in_place))
    imported = [mutant for mutant in left if mutant.at_import]
    # A table does not change when the function that made it is exchanged later.
    again = [mutant for mutant in in_place if ended.get(mutant) == "survived" and tests.is_executed_at_import(mutant)]
    runs.run_imported(again, tests, Part.FIRST, pool(_REST[1]), recorded(again))
    runs.run_imported(imported, tests, Part.REST, pool(1), recorded(imported))
    return ended


def refuse(ended: dict[Mutant, str]) -> None:
    """Let mypy look at what survived."""
    survived = [mutant for mutant, how in ended.items() if how == "survived"]
    if survived:
        with TypeChecker() as checker:
            ended.update({mutant: "refused" for mutant in survived if checker.refuses(mutant)})


def show(mutants: Sequence[Mutant], ended: dict[Mutant, str]) -> None:
    """Print a line for each module."""
    say(f"\n{'module':<46}{'mutants':>8}{'killed':>8}{'by mypy':>8}{'survived':>9}{'share':>9}")
    for path in dict.fromkeys(mutant.path for mutant in mutants):
        say(_row(path.removeprefix("src/ollama_push/"), _counts(ended, {path})))
    say(_row("all", Counter(ended.values())))
    if left_over := len(mutants) - len(ended):
        say(f"{left_over} mutants were not run: the time was over.")


def problems_of(mutants: Sequence[Mutant], ended: dict[Mutant, str], known: Survivors) -> list[str]:
    """Return what must not be, and print what may be looked at."""
    problems = [f"listed, and no mutant any more: {key}" for key in known.stale(mutants)]
    for mutant in sorted(ended, key=lambda mutant: (mutant.path, mutant.number)):
        shown = f"{mutant.path}:{mutant.number}: {mutant.scope}\n  - {mutant.line}\n  + {mutant.becomes}"
        survived, is_listed = ended[mutant] == "survived", mutant.key in known.reasons
        if survived and not is_listed:
            if mutant.path in known.settled:
                problems.append(f"survived, and not listed: {shown}")
            else:
                say(f"survived, in a module that is not gone through yet: {shown}")
        elif is_listed and not survived:
            say(f"listed, and noticed by now: {shown}")
    if _share(_counts(ended, known.settled)) < SHARE:
        problems.append(f"fewer than {SHARE:.0%} of the mutants were noticed in what has been gone through")
    return problems


def _counts(ended: dict[Mutant, str], paths: Container[str]) -> Counter[str]:
    return Counter(how for mutant, how in ended.items() if mutant.path in paths)


def _row(name: str, counts: Counter[str]) -> str:
    parts = counts.total(), counts["killed"], counts["refused"], counts["survived"]
    return f"{name:<46}{parts[0]:>8}{parts[1]:>8}{parts[2]:>8}{parts[3]:>9}{_share(counts):>9.1%}"


def _share(counts: Counter[str]) -> float:
    return 1 - counts["survived"] / counts.total() if counts else 1.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="modules or folders of the core; default: all of it")
    parser.add_argument("--changed", action="store_true", help="only the modules that the last commits changed")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; default: never")
    parser.add_argument("--jobs", type=int, default=2, help="at the same time; default: 2")
    given = parser.parse_args()
    begun = time.time()
    mutants = of_the_change() if given.changed else [each for file in modules(given.paths) for each in mutants_of(file)]
    ended = run_all(mutants, given.jobs, begun + given.minutes * 60) if mutants else {}
    show(mutants, ended)
    problems = problems_of(mutants, ended, listed())
    for problem in problems:
        say(problem)
    say(f"{time.time() - begun:.0f} s")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
