"""Many small models of one store: by ``push_many``, against one push after the other in the same process."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
from tests.support.counting_proxy import CountingProxy
from tests.support.stores import put_models

from ollama_push import NoResume, RegistryClient
from ollama_push.core.batch import PushItem
from ollama_push.core.ports import HttpRequest
from ollama_push.transports import Urllib3Transport

__all__ = ["JOBS", "Way", "measure"]

JOBS: Final = 8
_ROUND_TRIP_SECONDS: Final = 0.02


@attrs.frozen
class Way:
    """One way to push all models.

    Attributes:
        label: What was done.
        wall: Seconds.
        ratio: To the first way with the same round trip.
        connections: That were made.
        requests: That were sent.
        grown_mib: How much the process grew from the middle to the end.
    """

    label: str
    wall: float
    ratio: float
    connections: int
    requests: int
    grown_mib: float


class _Distant(Urllib3Transport):
    """A transport to a registry that is a round trip away."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[Any]:
        time.sleep(self._seconds)
        with super().open(request) as response:
            yield response


def measure(count: int) -> Iterator[Way]:
    """Push *count* models in each way, and yield what it took; the registry is a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        put_models(Path(folder, "models"), count)
        with _registry(Path(folder, "data")) as host:
            for seconds in (0.0, _ROUND_TRIP_SECONDS):
                alone = 0.0
                for jobs in (0, JOBS):
                    way = _measured(Path(folder, "models"), host, count, seconds=seconds, jobs=jobs, alone=alone)
                    alone = alone or way.wall
                    yield way


def _measured(store: Path, host: str, count: int, *, seconds: float, jobs: int, alone: float) -> Way:
    place = f"t{seconds:g}-j{jobs}".replace(".", "-")
    sizes = list[float]()

    def look(done: int) -> None:
        if done in (count // 2, count):
            sizes.append(_resident_mib())

    with CountingProxy(host) as proxy, _Distant(seconds) as transport:
        items = [PushItem(f"{proxy.host}/{place}/m{number}", f"m{number}") for number in range(count)]
        options = {"store": store, "plain_http": True, "credentials": ("a", "b"), "transport": transport}
        began = time.monotonic()
        with RegistryClient(resume=NoResume(), **options) as client:  # type: ignore[arg-type]  # of several types
            if jobs:
                for done, verdict in enumerate(client.push_many(items, jobs=jobs), 1):
                    if verdict.receipt is None:
                        raise SystemExit(f"{verdict.item}: {verdict.error}")
                    look(done)
            else:
                for done, item in enumerate(items, 1):
                    client.push(item.model, source=item.source)
                    look(done)
        wall = time.monotonic() - began
        label = f"{'one after the other' if not jobs else f'{jobs} at a time'}, {seconds * 1000:.0f} ms"
        return Way(label, wall, wall / (alone or wall), proxy.connections, len(proxy.passed), sizes[-1] - sizes[0])


def _resident_mib() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def _registry(data: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "ollama_push.cli", "registry", "--listen", "127.0.0.1:0", "--data", str(data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://(\S+),", process.stderr.readline())
        assert found is not None
        try:
            yield found[1]
        finally:
            process.terminate()
