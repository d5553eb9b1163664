"""What the command costs before it does anything: processor time of whole processes, against a bare interpreter."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import attrs
from bench.uploads import new_store, random_file

from ollama_push.testing.registry import EmbeddedRegistry

__all__ = ["Start", "measure"]


@attrs.frozen
class Start:
    """One command.

    Attributes:
        label: Which.
        seconds: Median of its processor time, minus that of a bare interpreter.
        ratio: Its processor time to that of a bare interpreter.
    """

    label: str
    seconds: float
    ratio: float


def measure(processes: int) -> Iterator[Start]:
    """Run every command in *processes* fresh processes, in turns. The second push of a model has nothing to send."""
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        store = new_store(folder / "models", [random_file(folder / "few", 1000)])
        environment = {"PATH": os.environ["PATH"], "HOME": scratch, "OLLAMA_MODELS": str(store)}
        with EmbeddedRegistry(folder / "registry") as registry:
            push = ("push", f"{registry.host}/b/c", "--direct", "--plain-http", "--from", "ollama:bench")
            commands = {
                "a bare interpreter": ("-c", "pass"),
                "ollama-push --version": ("-m", "ollama_push.cli", "--version"),
                "a direct push of nothing": ("-m", "ollama_push.cli", *push),
                "the same, aiohttp": ("-m", "ollama_push.cli", *push, "--transport", "aiohttp"),
            }
            spent: dict[str, list[float]] = {label: [] for label in commands}
            _cpu_seconds(commands["a direct push of nothing"], environment)
            for _ in range(processes):
                for label, command in commands.items():
                    spent[label].append(_cpu_seconds(command, environment))
    bare = median(spent["a bare interpreter"])
    for label, seconds in spent.items():
        yield Start(label, median(seconds) - bare, median(seconds) / bare)


def _cpu_seconds(arguments: tuple[str, ...], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
