"""The contract as a command: check a transport, print a table, exit with 1 when a promise is broken."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pkgutil import resolve_name

from ollama_push.testing.blocking import Blocking
from ollama_push.testing.contract import CLAUSES
from ollama_push.testing.contract._clauses import run_clauses

__all__ = ["run_command"]


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the contract as the command line says and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ollama_push.testing.contract", description=__doc__)
    parser.add_argument(
        "factory", metavar="MODULE:FACTORY", help="called with a read timeout in seconds, returns a new transport"
    )
    parser.add_argument("--async", dest="is_async", action="store_true", help="it is an async transport")
    parser.add_argument("--patience", type=float, default=5.0, metavar="SECONDS", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        factory = resolve_name(options.factory)
    except (ImportError, AttributeError, ValueError) as exc:
        parser.error(f"{options.factory}: {exc}")
    if not callable(factory):
        parser.error(f"{options.factory}: expected MODULE:FACTORY")
    make = (lambda seconds: Blocking(lambda: factory(seconds))) if options.is_async else factory
    width = max(len(str(clause)) for clause in CLAUSES)
    failures = 0
    for result in run_clauses(CLAUSES, make, options.patience):
        failures += result.failure is not None
        verdict = "kept" if result.failure is None else "BROKEN"
        sys.stdout.write(f"{verdict:6}  {result.clause!s:{width}}  {result.failure or result.clause.promise}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(CLAUSES) - failures} of {len(CLAUSES)} clauses kept\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run_command())
