"""Copies a model between two registries, and measures the writing alone, the whole copy, and the memory.

``python -m bench.copies`` needs Debian's ``docker-registry``; ``--blobs 4 --mib 256`` is what the README quotes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_connection, create_server
from typing import Any

from ollama_push import AsyncRegistryClient, RegistryClient, RegistryModel

_CONFIG = "application/vnd.docker.container.image.v1+json"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_MIB = 1 << 20


def _store(root: Path, blobs: int, mib: int) -> None:
    (root / "blobs").mkdir(parents=True)
    layers = [_blob(root, "application/vnd.ollama.image.model", os.urandom(_MIB), mib) for _ in range(blobs)]
    config = _blob(root, _CONFIG, b'{"model_format":"gguf"}', 1)
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
    path = root / "manifests/registry.ollama.ai/library/bench/latest"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest))


def _blob(root: Path, media_type: str, piece: bytes, times: int) -> dict[str, Any]:
    digest = hashlib.sha256()
    path = root / "blob"
    with path.open("wb") as file:  # never whole in memory: a child's peak begins at that of its parent
        for _ in range(times):
            file.write(piece)
            digest.update(piece)
    path.rename(root / "blobs" / f"sha256-{digest.hexdigest()}")
    return {"mediaType": media_type, "digest": f"sha256:{digest.hexdigest()}", "size": len(piece) * times}


@contextmanager
def _registry(folder: Path) -> Iterator[str]:
    program = shutil.which("docker-registry")
    if program is None:
        raise SystemExit("docker-registry is not installed: apt-get install docker-registry")
    with create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    folder.mkdir()
    config = folder / "config.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    settings = {"version": 0.1, "log": {"level": "error"}, "storage": storage, "http": {"addr": host}}
    config.write_text(json.dumps(settings))
    with subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(host)
            yield host
        finally:
            process.terminate()


def _wait_for(host: str) -> None:
    name, _, port = host.partition(":")
    for _ in range(100):
        try:
            with create_connection((name, int(port)), timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no registry answers at {host}")


def _copy(way: str, source: str, target: str) -> None:
    begun = time.perf_counter()
    places = [RegistryModel(each, plain_http=True) if "/" in each else each for each in (source, target)]
    if way == "sync":
        with RegistryClient() as client:
            client.copy(places[0], places[1])
    else:
        asyncio.run(_copy_async(places))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": time.perf_counter() - begun, "peak_mib": peak / 1024}))


async def _copy_async(places: list[Any]) -> None:
    async with AsyncRegistryClient() as client:
        await client.copy(places[0], places[1])


def _measured(folder: Path, way: str, source: str, target: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.copies", "--child", way, source, target]
    env = {**os.environ, "OLLAMA_MODELS": str(folder / "store"), "XDG_STATE_HOME": str(folder / "state")}
    result: dict[str, float] = json.loads(subprocess.check_output(command, env=env))
    return result


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(prog="python -m bench.copies", description=__doc__)
    parser.add_argument("--blobs", type=int, default=4)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _copy(*given.child)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-copies-")))
        _store(folder / "store", given.blobs, given.mib)
        first, second, third = (stack.enter_context(_registry(folder / name)) for name in ("one", "two", "three"))
        written = _measured(folder, "sync", "ollama:bench", f"{first}/team/bench:v1")
        print(f"store -> registry, sync: {written['seconds']:.2f} s, {written['peak_mib']:.0f} MiB")
        for way, target in (("sync", second), ("async", third)):
            copied = _measured(folder, way, f"{first}/team/bench:v1", f"{target}/team/bench:v1")
            ratio = copied["seconds"] / written["seconds"]
            seconds, peak = copied["seconds"], copied["peak_mib"]
            print(f"registry -> registry, {way}: {seconds:.2f} s ({ratio:.2f} x), {peak:.0f} MiB")


if __name__ == "__main__":
    main()
