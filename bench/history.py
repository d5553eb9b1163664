"""What became of our ratios over time: a line for each in ``history.jsonl``, and a picture of them in ``history.svg``.

``make bench`` appends to it; a quick run does not, since it measures everything once. ``python -m bench.history`` draws
the picture again.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

import attrs

__all__ = ["HISTORY", "Ratio", "append", "picture", "ratios_now", "read"]

_FOLDER: Final = Path(__file__).parent
HISTORY: Final = _FOLDER / "history.jsonl"
_WIDTH: Final = 860
_ROW: Final = 26
_LINE: Final = (330, 760)  # where the line of a row begins and ends


@attrs.frozen
class Ratio:
    """One figure of one run.

    Attributes:
        date: When, as ``YYYY-MM-DD``.
        commit: What was measured, abbreviated; with ``+`` where files had changed since.
        machine: On what.
        name: Which figure.
        ratio: Of ours to what it is compared with in the same run; less is better.
    """

    date: str
    commit: str
    machine: str
    name: str
    ratio: float


def ratios_now(measured: Mapping[str, float]) -> list[Ratio]:
    """Return the ratios that were *measured* just now, by name."""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    commit, machine = _commit(), _machine()
    return [Ratio(date, commit, machine, name, round(ratio, 3)) for name, ratio in measured.items()]


def append(ratios: Iterable[Ratio], file: Path = HISTORY) -> None:
    """Add *ratios* to *file*, and draw the picture beside it again."""
    with file.open("a", encoding="utf-8") as lines:
        lines.writelines(json.dumps(attrs.asdict(ratio)) + "\n" for ratio in ratios)
    file.with_suffix(".svg").write_text(picture(read(file)), "utf-8")


def read(file: Path = HISTORY) -> list[Ratio]:
    """Return what *file* holds, oldest first."""
    return [Ratio(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def picture(ratios: Iterable[Ratio]) -> str:
    """Return a drawing: for each figure a row with its ratios from 0 up, the newest in words."""
    by_name: dict[str, list[Ratio]] = {}
    for ratio in ratios:
        by_name.setdefault(ratio.name, []).append(ratio)
    height = 34 + _ROW * len(by_name)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" font-size="12">',
        "<title>Ratios of every benchmark, oldest run on the left</title>",
        "<style>text { font-family: sans-serif; }</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="18" fill="#666666">ours to what it is compared with; each row from 0 to its highest</text>',
    ]
    for number, (name, runs) in enumerate(by_name.items()):
        parts += _row(name, runs, 34 + _ROW * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(name: str, runs: list[Ratio], top: int) -> Iterable[str]:
    begin, end = _LINE
    base, most = top + _ROW - 6, max(run.ratio for run in runs)
    step = (end - begin) / max(len(runs) - 1, 1)
    points = [
        (begin + number * step, base - (_ROW - 10) * (run.ratio / most if most else 0.0))
        for number, run in enumerate(runs)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<text x="10" y="{base}">{escape(name)}</text>'
    yield f'<line x1="{begin}" y1="{base}" x2="{end}" y2="{base}" stroke="#dddddd"/>'
    yield f'<polyline points="{line}" fill="none" stroke="#1d4ed8" stroke-width="1.2"/>'
    for (x, y), run in zip(points, runs, strict=True):
        says = escape(f"{run.ratio:.2f} x, {run.date}, {run.commit}, {run.machine}")
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#1d4ed8"><title>{says}</title></circle>'
    yield f'<text x="{_WIDTH - 10}" y="{base}" text-anchor="end">{runs[-1].ratio:.2f} x</text>'


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=_FOLDER, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "../src")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _machine() -> str:
    cores = os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    return f"{cores} cores, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    append(())
