"""The contract as a command: check a transport, print a table, exit with 1 when a promise is broken."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from ollama_push.testing.blocking import Blocking
from ollama_push.testing.contract import CLAUSES
from ollama_push.testing.contract._clauses import MakeTransport, run_clauses

__all__ = ["run_command"]


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the contract as the command line says and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ollama_push.testing.contract", description=__doc__)
    parser.add_argument(
        "factory", metavar="MODULE:FACTORY", help="called with a read timeout in seconds, returns a new transport"
    )
    parser.add_argument(
        "--async", dest="is_async", action="store_true", help="it is an async transport; seen by its aclose()"
    )
    parser.add_argument("--patience", type=float, default=5.0, metavar="SECONDS", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        factory = resolve_name(options.factory)
        is_async = asyncio.run(_is_async(factory, options.patience)) or options.is_async
    except (ImportError, AttributeError, TypeError, ValueError) as exc:
        parser.error(f"{options.factory}: {exc}")
    make = (lambda seconds: Blocking(lambda: factory(seconds))) if is_async else factory
    try:
        return _print_table(make, options.patience)
    except BrokenPipeError:
        # Such as "| head", which has read enough. What is still buffered would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _is_async(factory: Any, read_timeout: float) -> bool:
    """Build one transport, in a loop since an async one may need it, and say whether it is an async one.

    Raises:
        TypeError: The factory cannot be called like that, or what it returns is no transport.
    """
    if not callable(factory):
        raise TypeError("expected MODULE:FACTORY")
    try:
        transport = factory(read_timeout)
    except TypeError as exc:
        wanted = "it is called with one argument, the read timeout in seconds, and returns a new transport"
        raise TypeError(f"{wanted}: {exc}") from exc
    is_async = hasattr(transport, "aclose")
    lacking = [
        name for name in ("open", "aclose" if is_async else "close") if not callable(getattr(transport, name, None))
    ]
    if lacking:
        kind = type(transport).__name__
        raise TypeError(
            f"it returned {kind}, which has no {lacking[0]}(): a transport has open(), and close() or aclose()"
        )
    if is_async:
        await transport.aclose()
    else:
        transport.close()
    return is_async


def _print_table(make: MakeTransport, patience: float) -> int:
    width = max(len(str(clause)) for clause in CLAUSES)
    failures = 0
    for result in run_clauses(CLAUSES, make, patience):
        failures += result.failure is not None
        verdict = "kept" if result.failure is None else "BROKEN"
        sys.stdout.write(f"{verdict:6}  {result.clause!s:{width}}  {result.failure or result.clause.promise}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(CLAUSES) - failures} of {len(CLAUSES)} clauses kept\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run_command())
