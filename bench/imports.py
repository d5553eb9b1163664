"""What an import costs, and what it loads: fresh interpreters, without the interpreter's own start."""

from __future__ import annotations

import resource
import subprocess
import sys
from statistics import median
from typing import Final

import attrs

__all__ = ["Imported", "measure"]

_STATEMENTS: Final = (
    "import ollama_push",
    "from ollama_push import PushClient",
    "from ollama_push import AsyncPushClient",
    "from ollama_push import PushClient; PushClient()",
    "from ollama_push import AsyncPushClient; AsyncPushClient()",
    "import urllib3",
    "import aiohttp",
    "import requests",
    "import ollama",
)
_WATCHED: Final = ("urllib3", "aiohttp", "asyncio")


@attrs.frozen
class Imported:
    """One statement.

    Attributes:
        statement: What was run.
        milliseconds: Median of its CPU time, minus that of ``pass``.
        loaded: Which of the watched modules it brought in.
    """

    statement: str
    milliseconds: float
    loaded: tuple[str, ...]


def measure(processes: int) -> list[Imported]:
    """Run every statement in *processes* fresh interpreters, in turns."""
    spent: dict[str, list[float]] = {}
    for _ in range(processes):
        for statement in ("pass", *_STATEMENTS):
            spent.setdefault(statement, []).append(_cpu_seconds(statement))
    start = median(spent["pass"])
    return [Imported(one, (median(spent[one]) - start) * 1e3, _loaded_by(one)) for one in _STATEMENTS]


def _cpu_seconds(statement: str) -> float:
    before = _spent_by_children()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return _spent_by_children() - before


def _spent_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _loaded_by(statement: str) -> tuple[str, ...]:
    code = f"{statement}\nimport sys\nprint(*[name for name in {_WATCHED!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return tuple(done.stdout.split())
