"""Pulls of one large blob from a real registry, straight and through the gateway, in alternate runs; and many at once.

Also what runs in processes of its own: ``python -m bench.pulls serve HOST [CACHE]`` and ``... link HOST BYTES``.
"""

# ruff: noqa: PLC0415 - each process loads what it needs only

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import attrs
from bench.gateway import cpu_seconds, peak_mib
from bench.uploads import MIB, Run, Upload, new_store, random_file, registry

__all__ = ["AtOnce", "at_once", "measure", "over_a_link"]

_NAME: Final = "b/c"
_PIECE_BYTES: Final = 256 * 1024


@attrs.frozen
class AtOnce:
    """What many pulls of one model at the same time cost.

    Attributes:
        pulls: How many there were.
        wall: Seconds until the last one had everything.
        asked_bytes: What all of them got.
        fetched_bytes: What the registry sent for that.
    """

    pulls: int
    wall: float
    asked_bytes: int
    fetched_bytes: int


def measure(size: int, rounds: int) -> Iterator[Upload]:
    """Pull one blob of *size* random bytes straight and through gateways, *rounds* times in turn.

    curl gets it each time, following the redirect. Straight comes first: it is 1.0. Processor time is that of curl
    and the gateway together; memory is what the gateway took more than before.
    """
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        with (
            _holding(folder, size) as (host, digest),
            _gateway(host) as plain,
            _gateway(host, folder / "cache") as warm,
        ):
            contenders: dict[str, Callable[[], Run]] = {
                "curl, straight": lambda: _curl(host, digest),
                "curl, through the gateway": lambda: _curl(f"127.0.0.1:{plain[0]}", digest, plain[1]),
                "curl, from its cache": lambda: _curl(f"127.0.0.1:{warm[0]}", digest, warm[1]),
            }
            _curl(f"127.0.0.1:{warm[0]}", digest)
            runs: dict[str, list[Run]] = {label: [] for label in contenders}
            for number in range(rounds):
                # Whoever comes first in a round may find colder caches.
                for label in sorted(contenders, reverse=bool(number % 2)):
                    runs[label].append(contenders[label]())
            for label in contenders:
                yield Upload(label, Run.median(runs[label]))


def over_a_link(size: int, rounds: int, bits_per_second: int) -> Iterator[Upload]:
    """Pull a blob from a registry behind a link that carries so much, straight and through the gateway, in turn."""
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        with _holding(folder, size) as (host, digest), _process("link", host, str(bits_per_second // 8)) as link:
            far = f"127.0.0.1:{link[0]}"
            with _gateway(far) as gateway:
                runs: dict[str, list[Run]] = {"curl, straight": [], "curl, through the gateway": []}
                for _ in range(rounds):
                    runs["curl, straight"].append(_curl(far, digest))
                    runs["curl, through the gateway"].append(_curl(f"127.0.0.1:{gateway[0]}", digest, gateway[1]))
                for label, costs in runs.items():
                    yield Upload(label, Run.median(costs))


def at_once(size: int, pulls: int) -> AtOnce:
    """Pull a blob of *size* bytes *pulls* times at once, by Ollama's rules, through a gateway with an empty cache."""
    from tests.support.stock_pull import StockPull

    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        with _holding(folder, size) as (host, _digest), _gateway(host, folder / "cache") as (port, _pid):

            def pull(number: int) -> int:
                got: list[int] = []
                StockPull(folder / str(number), received=got.append).pull(f"127.0.0.1:{port}", _NAME)
                shutil.rmtree(folder / str(number))
                return sum(got)

            began = time.perf_counter()
            with ThreadPoolExecutor(pulls) as threads:
                asked = sum(threads.map(pull, range(pulls)))
            return AtOnce(
                pulls, time.perf_counter() - began, asked, int(_metric(port, "ollama_push_fetched_bytes_total"))
            )


@contextmanager
def _holding(folder: Path, size: int) -> Iterator[tuple[str, str]]:
    """Run a registry that holds a model of one large blob; yield its host and that blob's digest."""
    from ollama_push import NoResume, RegistryClient

    store = new_store(folder / "models", [random_file(folder / "random", size)])
    [blob] = [path for path in (store / "blobs").iterdir() if path.stat().st_size == size]
    with registry(folder / "registry") as host:
        with RegistryClient(store=store, plain_http=True, resume=NoResume(), verify=False) as client:
            client.push(f"{host}/{_NAME}", source="bench")
        shutil.rmtree(store)
        yield host, blob.name.replace("-", ":")


@contextmanager
def _process(*arguments: str) -> Iterator[tuple[int, int]]:
    """Run this module as a process; yield the port where it listens, and its number."""
    command = [sys.executable, "-m", "bench.pulls", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def _gateway(host: str, cache: Path | None = None) -> AbstractContextManager[tuple[int, int]]:
    return _process("serve", host, *([] if cache is None else [str(cache)]))


def _curl(host: str, digest: str, gateway: int | None = None) -> Run:
    from bench.uploads import run

    before = (0.0, 0.0) if gateway is None else (cpu_seconds(gateway), peak_mib(gateway))
    cost = run("curl", "-sSfL", "-o", "/dev/null", f"http://{host}/v2/{_NAME}/blobs/{digest}")
    if gateway is None:
        return cost
    return attrs.evolve(
        cost, cpu=cost.cpu + cpu_seconds(gateway) - before[0], peak_mib=max(peak_mib(gateway) - before[1], 0.1)
    )


def _metric(port: int, name: str) -> float:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def _serve(host: str, cache: str | None = None) -> None:
    """Serve as ``ollama-push serve`` does."""
    from ollama_push import NoResume
    from ollama_push.gateway import GatewaySettings
    from ollama_push.gateway.server import serve
    from ollama_push.local import Credentials

    settings = GatewaySettings(
        default_registry=host,
        plain_http=True,
        resume=NoResume(),
        pull_key=bytes(32),
        cache=cache,
        credentials=Credentials(environ={}),
    )
    asyncio.run(serve(settings, port=0, started=lambda _host, port: print(port, flush=True)))


def _link(host: str, bytes_per_second: str) -> None:
    """Forward connections to *host*, all of them together no faster than that."""
    asyncio.run(_carry(host, float(bytes_per_second)))


async def _carry(host: str, rate: float) -> None:
    name, _, port = host.partition(":")
    loop = asyncio.get_running_loop()
    free_at = loop.time()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal free_at
        while data := await reader.read(_PIECE_BYTES):
            free_at = max(free_at, loop.time()) + len(data) / rate
            await asyncio.sleep(max(0.0, free_at - loop.time()))
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(name, int(port), limit=4 * MIB)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=4 * MIB)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(*sys.argv[2:])
    else:
        _link(*sys.argv[2:])
