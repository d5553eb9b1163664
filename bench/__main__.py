"""Prints how we compare with our peers, all measured in this run; time never fails it, a wrong verdict does."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version

from bench import cpu, imports, longline

_LIBRARIES = ("ollama-push", "urllib3", "aiohttp", "requests", "ollama", "httpx", "attrs", "cattrs", "orjson")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of everything: does it run?")
    parser.add_argument("--events", type=int, default=200_000, help="lines in each push (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each push is measured (default %(default)s)")
    return parser.parse_args()


def _print_rows(title: str, rows: Iterable[cpu.Row], unit: str) -> None:
    print(f"\n{title}")
    for row in rows:
        print(f"  {row.label:<36} {row.value:8.2f} {unit}  {row.ratio:5.2f} x  {row.verdict}")


def main() -> int:
    """Measure everything and print it; return the exit code."""
    arguments = _arguments()
    rounds, processes = (1, 1) if arguments.quick else (arguments.rounds, 15)
    print(f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in _LIBRARIES)}")

    print(f"\n== CPU time of the client per event: {arguments.events:,} events, median of {rounds} ==")
    results = cpu.measure(arguments.events, rounds)
    wrong = 0
    for title, rows in cpu.rows_by_table(results):
        _print_rows(title, rows, "µs")
        wrong += sum(row.verdict != "success" for row in rows)

    print("\n== Peak memory of the client's process, against the official client of the same colour ==")
    _print_rows("realistic mix, one event a chunk", cpu.memory_rows(results), "MiB")

    print(f"\n== CPU time of imports, without the interpreter's start: median of {processes} ==\n")
    for one in imports.measure(processes):
        print(f"  {one.statement:<60} {one.milliseconds:7.1f} ms  loads {', '.join(one.loaded) or 'none'}")

    print("\n== An unfinished line in pieces of 1,460 bytes: four times the length, linear is 1.0 ==\n")
    for growth in longline.measure(rounds):
        ratio = growth.long / growth.short
        label = f"{growth.label}, {growth.long_bytes // 4:,} -> {growth.long_bytes:,} bytes"
        print(f"  {label:<60} {growth.short:8.2f} -> {growth.long:8.2f} ns/byte  {ratio:5.2f} x")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
