"""Prints how we compare with our peers, all measured in this run; time never fails it, a wrong verdict does."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

from bench import cpu, gateway, history, imports, load, longline, many, pulls, signed, start, uploads

_LIBRARIES = ("ollama-push", "urllib3", "aiohttp", "requests", "ollama", "httpx", "attrs", "cattrs", "msgspec")


_PARTS: Final = ("events", "start", "load", "many", "pulls", "uploads", "signed")

# The ratios of this run that the history keeps, by name: ours to what it is compared with, and less is better.
_kept: Final[dict[str, float]] = {}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of everything: does it run?")
    parser.add_argument("--events", type=int, default=200_000, help="lines in each push (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each push is measured (default %(default)s)")
    parser.add_argument("--blob-mib", type=int, default=1024, help="size of the uploaded blob (default %(default)s)")
    parser.add_argument("--huge-mib", type=int, default=0, help="size of a sparse blob that is uploaded once, too")
    parser.add_argument("--models", type=int, default=500, help="small models of one store (default %(default)s)")
    parser.add_argument("--only", choices=_PARTS, help="measure only these")
    parser.add_argument(
        "--history", action="store_true", help="append the ratios to bench/history.jsonl; not with --quick"
    )
    return parser.parse_args()


def _print_rows(title: str, rows: Iterable[cpu.Row], unit: str) -> None:
    print(f"\n{title}")
    for row in rows:
        print(f"  {row.label:<36} {row.value:8.2f} {unit}  {row.ratio:5.2f} x  {row.verdict}")


def _measure_events(arguments: argparse.Namespace, rounds: int, processes: int) -> int:
    """Print everything about events; return how many pushes ended wrong."""
    print(f"\n== CPU time of the client per event: {arguments.events:,} events, median of {rounds} ==")
    results = cpu.measure(arguments.events, rounds)
    wrong = 0
    for title, rows in cpu.rows_by_table(results):
        _print_rows(title, rows, "µs")
        wrong += sum(row.verdict != "success" for row in rows)
        if title.startswith(("realistic mix, one", "distinct mix, one")):
            ours = [row for row in rows if "PushClient" in row.label]
            _kept.update({f"events, {title.partition(' ')[0]}: {row.label}": row.ratio for row in ours})

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
    return wrong


def _measure_start(processes: int) -> None:
    print(f"\n== CPU time of whole processes, a bare interpreter is 1.0: median of {processes} ==\n")
    for one in start.measure(processes):
        print(f"  {one.label:<36} {one.seconds * 1e3:7.1f} ms more  {one.ratio:5.1f} x")
        _kept[f"start, CPU: {one.label}"] = one.ratio
    del _kept["start, CPU: a bare interpreter"]


def _print_uploads(title: str, rows: Iterable[uploads.Upload], keep: str = "", *, cpu_time: bool = False) -> None:
    """Print rows, and keep the ratios to the first one under a name that begins with *keep*, if it is given."""
    print(f"\n== {title} ==\n")
    first: uploads.Run | None = None
    for row in rows:
        # Neither those of others nor those of other sizes.
        if keep and first is not None and row.label != "skopeo copy" and not row.label.endswith("B"):
            ratio = row.cost.cpu / first.cpu if cpu_time else row.cost.wall / first.wall
            _kept[f"{keep}, {'CPU' if cpu_time else 'wall'}: {row.label}"] = ratio
        first = first or row.cost
        wall = f"wall {row.cost.wall:6.2f} s {row.cost.wall / first.wall:5.2f} x"
        processor = f"CPU {row.cost.cpu:5.2f} s {row.cost.cpu / first.cpu:5.2f} x"
        peak = f"   peak {row.cost.peak_mib:5.1f} MiB" if row.cost.peak_mib else ""
        print(f"  {row.label:<36} {wall}   {processor}{peak}")


def _measure_uploads(arguments: argparse.Namespace, rounds: int) -> None:
    missing = uploads.missing_programs()
    if missing:
        print(f"\nuploads are not measured: {', '.join(missing)} not installed")
        return
    size = arguments.blob_mib * uploads.MIB
    _print_uploads(
        f"One blob of {arguments.blob_mib:,} MiB to docker-registry: median of {rounds}, curl is 1.0",
        uploads.measure(size, rounds, huge=arguments.huge_mib * uploads.MIB),
        "upload",
        cpu_time=True,
    )
    _print_uploads(
        f"One blob of {arguments.blob_mib:,} MiB to docker-registry over TLS: median of {rounds}, curl is 1.0",
        uploads.over_tls(size, rounds),
        "upload",
        cpu_time=True,
    )
    _print_uploads(
        f"Four blobs of {arguments.blob_mib // 4:,} MiB: median of {rounds}, one after the other is 1.0",
        uploads.side_by_side(size // 4, 4, rounds),
        "four blobs",
    )
    _print_uploads(
        f"One blob of {arguments.blob_mib:,} MiB through the gateway: median of {rounds}, the direct push is 1.0",
        gateway.measure(size, rounds),
        "push",
    )


def _measure_pulls(arguments: argparse.Namespace, rounds: int) -> None:
    missing = uploads.missing_programs()
    if missing:
        print(f"\npulls are not measured: {', '.join(missing)} not installed")
        return
    size = arguments.blob_mib * uploads.MIB
    _print_uploads(
        f"A pull of one blob of {arguments.blob_mib:,} MiB from docker-registry: median of {rounds}, straight is 1.0",
        pulls.measure(size, rounds),
        "pull",
    )
    _print_uploads(
        f"A pull of {arguments.blob_mib // 4:,} MiB over a link of 1 Gbit/s: median of {rounds}, straight is 1.0",
        pulls.over_a_link(size // 4, rounds, 1_000_000_000),
    )
    many_pulls = pulls.at_once(size // 32, 5 if arguments.quick else 50)
    print(f"\n== {many_pulls.pulls} pulls of one model of {arguments.blob_mib // 32:,} MiB at once, with a cache ==\n")
    print(
        f"  {many_pulls.asked_bytes:,} bytes in {many_pulls.wall:.2f} s, of which the registry sent"
        f" {many_pulls.fetched_bytes:,}"
    )


def _measure_load(pushes: int) -> None:
    if uploads.missing_programs():
        return
    print(f"\n== {pushes} pushes at once of models of 512 KiB to docker-registry ==\n")
    first: load.Load | None = None
    for one in load.measure(pushes):
        print(
            f"  {one.label:<28} wall {one.wall:6.2f} s   CPU {one.cpu * 1e3:6.1f} ms a push"
            f"   the slowest first event after {one.first_event:5.2f} s   {one.succeeded} succeeded  {one.said[:200]}"
        )
        if first is not None:
            _kept["200 pushes at once, CPU of ours to a real Ollama's"] = first.cpu / one.cpu
            _kept["200 pushes at once, slowest first event of ours to a real Ollama's"] = (
                first.first_event / one.first_event
            )
        first = first or one


def _measure_signed(part_mib: int) -> None:
    print(
        f"\n== Two layers of 16 parts of {part_mib} MiB over a link of 100 ms whose connections carry 100 Mbit/s each:"
        " one part after the other is 1.0 ==\n"
    )
    first: float | None = None
    for way in signed.measure(part_mib):
        first = first or way.seconds
        print(
            f"  {way.label:<40} wall {way.seconds:6.2f} s  {first / way.seconds:5.2f} x as fast"
            f"   {way.at_once} connections sent at the same time"
        )
        _kept[f"signed upload, wall: {way.label}"] = way.seconds / first


def _measure_many(count: int) -> None:
    print(f"\n== {count} small models of one store to one registry: one after the other is 1.0 ==\n")
    for way in many.measure(count):
        print(
            f"  {way.label:<28} wall {way.wall:7.2f} s {way.ratio:5.2f} x   {way.connections} connections for"
            f" {way.requests:,} requests   the second half grew the process by {way.grown_mib:.1f} MiB"
        )
        _kept[f"small models, wall: {way.label}"] = way.ratio


def main() -> int:
    """Measure everything and print it; return the exit code."""
    arguments = _arguments()
    rounds, processes = (1, 1) if arguments.quick else (arguments.rounds, 15)
    print(f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in _LIBRARIES)}")
    wrong = 0
    if arguments.only in (None, "events"):
        wrong = _measure_events(arguments, rounds, processes)
    if arguments.only in (None, "start"):
        _measure_start(processes)
    if arguments.only in (None, "load"):
        _measure_load(10 if arguments.quick else 200)
    if arguments.only in (None, "uploads"):
        _measure_uploads(arguments, rounds)
    if arguments.only in (None, "pulls"):
        _measure_pulls(arguments, rounds)
    if arguments.only in (None, "signed"):
        _measure_signed(1 if arguments.quick else 8)
    if arguments.only in (None, "many"):
        _measure_many(20 if arguments.quick else arguments.models)
    if arguments.history and not arguments.quick:
        history.append(history.ratios_now({name: ratio for name, ratio in _kept.items() if ratio != 1.0}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
