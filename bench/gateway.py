"""One large push through a gateway on loopback against the same push straight to the registry, in alternate runs.

Also what runs in processes of its own: ``python -m bench.gateway serve STORE HOST`` and ``... push URL``.
"""

# ruff: noqa: PLC0415 - each process loads what it needs only

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
from bench.uploader import peak_kib
from bench.uploads import Run, Upload, new_store, ours, random_file, registry, run

__all__ = ["cpu_seconds", "measure", "peak_mib"]

_NAME: Final = "b/c"
_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def measure(size: int, rounds: int) -> Iterator[Upload]:
    """Push one blob of *size* random bytes straight and through a gateway, *rounds* times in turn.

    The direct pushes come first: they are 1.0. A gateway is up before its push is measured, and each push has a
    client process of its own either way; processor time and memory through the gateway are the client's and the
    gateway's together.
    """
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        store = new_store(folder / "models", [random_file(folder / "random", size)])
        contenders: dict[str, Callable[[str], Run]] = {
            "AsyncRegistryClient, direct": lambda host: ours("async", host, store),
            "PushClient, through the gateway": lambda host: _through_gateway(host, store),
        }
        runs: dict[str, list[Run]] = {label: [] for label in contenders}
        for number in range(rounds):
            # Whoever comes first in a round may find colder caches.
            for label in sorted(contenders, reverse=bool(number % 2)):
                with registry(folder / "registry") as host:
                    runs[label].append(contenders[label](host))
        for label, costs in runs.items():
            yield Upload(label, Run.median(costs))


def _through_gateway(host: str, store: Path) -> Run:
    with _gateway(host, store) as (port, pid):
        before = cpu_seconds(pid)
        client = run(sys.executable, "-m", "bench.gateway", "push", f"http://127.0.0.1:{port}")
        cpu = cpu_seconds(pid) - before
        peak = peak_mib(pid)
    return attrs.evolve(client, cpu=client.cpu + cpu, peak_mib=client.peak_mib + peak)


@contextmanager
def _gateway(host: str, store: Path) -> Iterator[tuple[int, int]]:
    """Run a gateway in front of the registry *host*; yield its port and its process."""
    # A model is only found under its name: the direct push may name another source.
    manifests = store / "manifests" / "registry.ollama.ai"
    (manifests / "b" / "c").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(manifests / "library" / "bench" / "latest", manifests / "b" / "c" / "latest")
    command = [sys.executable, "-m", "bench.gateway", "serve", str(store), host]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process; 0 where the system does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime, stime: see proc(5)


def peak_mib(pid: int) -> float:
    """Return the largest resident set of a process; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
    return float(fields.get("VmHWM", "0 kB").split()[0]) / 1024


def _serve(store: str, host: str) -> None:
    """Serve as ``ollama-push serve`` does, but without a memory of uploads, as the direct push."""
    import asyncio

    from ollama_push import NoResume
    from ollama_push.gateway import GatewaySettings
    from ollama_push.gateway.server import serve
    from ollama_push.local import ModelStore

    settings = GatewaySettings(
        store=ModelStore(store), default_registry=host, plain_http=True, resume=NoResume(), verify=True
    )
    asyncio.run(serve(settings, port=0, started=lambda _host, port: print(port, flush=True)))


def _push(url: str) -> None:
    """Push as any client of Ollama's API does."""
    from ollama_push import PushClient

    with PushClient(url) as client:
        client.push(_NAME)
    print(peak_kib())


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(*sys.argv[2:])
    else:
        _push(*sys.argv[2:])
