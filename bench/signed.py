"""Uploads to a registry that signs URLs, over a link with a delay whose connections are slow, as that to a cloud is."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
from bench.uploads import MIB, new_store, random_file

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.local import NoResume
from ollama_push.testing._loop_thread import LoopThread
from ollama_push.testing.registry import EmbeddedRegistry, Quirks

__all__ = ["Way", "measure"]

_CHUNK_BYTES: Final = 256 * 1024
_PARTS: Final = 16
_LAYERS: Final = 2


@attrs.frozen
class Way:
    """One way of uploading.

    Attributes:
        label: What it is.
        seconds: How long it took.
        at_once: The most parts that were on their way at the same time.
    """

    label: str
    seconds: float
    at_once: int


@attrs.define
class _Link:
    """A proxy that forwards each connection with a delay, and what a client sends no faster than *rate*.

    Attributes:
        target: Host and port behind it.
        delay: Seconds in each direction.
        rate: Bytes a second of each connection.
        at_once: The most connections that sent something large at the same time.
    """

    target: tuple[str, int]
    delay: float
    rate: float
    at_once: int = 0
    _sending: int = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Listen on a free port while the block is open."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection(*self.target, limit=_CHUNK_BYTES)
        ways = (self._pass(reader, back_writer, self.rate), self._pass(back_reader, writer, float("inf")))
        # The task of a connection: it is cancelled when the link ends, and nobody waits for it.
        with contextlib.suppress(OSError, asyncio.CancelledError, RuntimeError):
            await asyncio.gather(*ways)
        for each in (writer, back_writer):
            each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: float) -> None:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

        async def write() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        writing = asyncio.create_task(write())
        moved, free = 0, loop.time()
        try:
            while data := await reader.read(_CHUNK_BYTES):
                free = max(free, loop.time()) + len(data) / rate
                await asyncio.sleep(free - loop.time())
                queue.put_nowait((free + self.delay, data))
                if moved < MIB <= moved + len(data) and rate < float("inf"):
                    self._sending += 1
                    self.at_once = max(self.at_once, self._sending)
                moved += len(data)
            queue.put_nowait((loop.time() + self.delay, b""))
            await writing
        finally:
            self._sending -= moved >= MIB and rate < float("inf")
            writing.cancel()
            await asyncio.wait([writing])


def measure(part_mib: int, delay: float = 0.05, rate: float = 100e6 / 8) -> Iterator[Way]:
    """Upload two layers of 16 parts of *part_mib* MiB each, one part after the other and to signed URLs.

    Args:
        part_mib: Size of a part.
        delay: Seconds in each direction.
        rate: Bytes a second of each connection.
    """
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        files = [random_file(folder / f"layer{number}", part_mib * _PARTS * MIB) for number in range(_LAYERS)]
        store = new_store(folder / "models", files)
        for label, signs, layers, is_async in (
            ("one part after the other", "", 1, False),
            ("two layers side by side", "", _LAYERS, False),
            ("signed parts, sync client", "signed", _LAYERS, False),
            ("signed parts, async client", "signed", _LAYERS, True),
        ):
            with (
                _process("registry", str(folder / label), signs) as (port, _registry),
                _process("link", str(port), str(delay), str(rate)) as (link, process),
            ):
                began = time.perf_counter()
                _push(store, f"127.0.0.1:{link}", part_mib * MIB, layers, is_async=is_async)
                seconds = time.perf_counter() - began
                told, _ = process.communicate(timeout=60)
                yield Way(label, seconds, int(told))


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run this module with *arguments*, and yield the port that it listens on; it ends when its input does."""
    command = [sys.executable, "-m", "bench.signed", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            if not process.stdin.closed:
                process.stdin.close()


def _serve(kind: str, *arguments: str) -> None:
    if kind == "registry":
        with EmbeddedRegistry(Path(arguments[0]), quirks=Quirks(redirect_uploads=bool(arguments[1]))) as registry:
            print(registry.host.partition(":")[2], flush=True)
            sys.stdin.read()
        return
    link = _Link(("127.0.0.1", int(arguments[0])), float(arguments[1]), float(arguments[2]))
    with contextlib.closing(LoopThread(link.serving, "bench-link")) as running:
        print(running.value, flush=True)
        sys.stdin.read()
    print(link.at_once, flush=True)


def _push(store: Path, host: str, part_bytes: int, layers: int, *, is_async: bool) -> None:
    settings: dict[str, Any] = {
        "store": store,
        "plain_http": True,
        "part_bytes": part_bytes,
        "resume": NoResume(),
        "verify": False,
    }
    name = f"{host}/bench/model"

    async def push_async() -> None:
        async with AsyncRegistryClient(concurrency=layers, **settings) as client:
            await client.push(name, source="library/bench")

    if is_async:
        asyncio.run(push_async())
        return
    with RegistryClient(concurrency=layers, **settings) as client:
        client.push(name, source="library/bench")


if __name__ == "__main__":
    _serve(*sys.argv[1:])
