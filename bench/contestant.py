"""One contender in a fresh process of its own: told which stream to push, it answers what that cost.

Run as ``python -m bench.contestant LABEL URL``; each line on standard input is a path at the server, each line
on standard output a measurement.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs
from bench.contenders import CONTENDERS
from bench.streams import Stream

__all__ = ["Contestant", "Measured"]

_WARM_UP: Final = Stream("realistic", 200, 1)
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")


@attrs.frozen
class Measured:
    """What one push cost the client's process.

    Attributes:
        verdict: The last status it saw, or the error.
        cpu_seconds: User and system time.
        peak_bytes: Largest resident size of the process so far.
    """

    verdict: str
    cpu_seconds: float
    peak_bytes: int


class Contestant:
    """A process that measures one contender, for as long as its block lasts."""

    def __init__(self, label: str, url: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name.lower() not in _PROXIES}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.contestant", label, url],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def push(self, stream: Stream) -> Measured:
        """Push once and wait for the measurement."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(stream.path, file=self._process.stdin, flush=True)
        return Measured(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


class _Hidden:
    """Finds one module first, and refuses it: as if it were not installed."""

    def find_spec(self, name: str, *_where: object) -> None:
        if name.partition(".")[0] == "msgspec":
            raise ModuleNotFoundError(name)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which starts at what the parent process had reached.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(label: str, url: str) -> None:
    """Measure for each line of standard input."""
    contender = CONTENDERS[label]
    if not contender.speed:
        sys.meta_path.insert(0, _Hidden())
    contender.push(url + _WARM_UP.path)
    for line in sys.stdin:
        gc.collect()
        before = time.process_time()
        try:
            verdict = contender.push(url + line.strip())
        except Exception as exc:  # noqa: BLE001 - whatever a peer raises is its verdict
            verdict = repr(exc)
        spent = time.process_time() - before
        print(json.dumps(attrs.asdict(Measured(verdict, spent, _peak_bytes()))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
