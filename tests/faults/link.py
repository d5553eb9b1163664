"""A proxy of bytes that damages the connections through it by plan. It knows nothing of what it forwards."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Self

from tests.faults.plans import Damage, WireFault

from ollama_push.testing._loop_thread import LoopThread

__all__ = ["FaultyLink"]

_READ_BYTES: Final = 16 * 1024
_LINGER: Final = struct.pack("ii", 1, 0)


class FaultyLink:
    """Listens from construction on; its methods may be called from any thread.

    Args:
        targets: ``"127.0.0.1:PORT"``, or the path of a socket; a connection goes to the first that takes it.
        faults: What happens to which connection.

    Attributes:
        targets: As given; may be changed.
        host: ``"127.0.0.1:PORT"``, where it listens.
    """

    def __init__(self, targets: Sequence[str], faults: Iterable[WireFault] = ()) -> None:
        self.targets = targets
        self._faults: defaultdict[tuple[int, bool], list[WireFault]] = defaultdict(list)
        for fault in faults:
            self._faults[fault.connection, fault.upstream].append(fault)
        self._count = 0
        self._changed = threading.Condition()
        self._open = 0  # guarded by _changed, like the next ones
        self._moved = 0
        self._healed = False
        self._loop = LoopThread(self._listening, "faulty-link")
        self.host = f"127.0.0.1:{self._loop.value}"

    def heal(self) -> None:
        """Let connections that begin from now on pass unharmed."""
        with self._changed:
            self._healed = True

    @property
    def moved_bytes(self) -> int:
        """Bytes that have passed, in either direction."""
        with self._changed:
            return self._moved

    def is_idle(self, seconds: float) -> bool:
        """Wait until all clients have closed their connections; return whether they did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def close(self) -> None:
        """Cut all connections and stop."""
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[int]:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            with suppress(asyncio.CancelledError):
                await self._serve(reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._changed:
            self._open += 1
            self._count += 1
            index = self._count
            healed = self._healed
        link = _Connection(reader, writer, self.targets, self._count_moved)
        try:
            with suppress(OSError):
                await link.forward(
                    [] if healed else self._faults[index, True], [] if healed else self._faults[index, False]
                )
        finally:
            link.close()
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _count_moved(self, count: int) -> None:
        with self._changed:
            self._moved += count


class _Broken(Exception):
    """A fault resets the connection."""


class _Closed(Exception):
    """A fault has closed the connection."""


class _Connection:
    """A client's connection, ours to the target, and perhaps a second one that gets the same bytes."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        targets: Sequence[str],
        moved: Callable[[int], None],
    ) -> None:
        self._client = reader, writer
        self._targets = targets
        self._moved = moved
        self._writers = [writer]
        self._sent = bytearray()  # by the client, for a second connection
        self._second: asyncio.StreamWriter | None = None
        self._draining: asyncio.Task[bytes] | None = None
        self._dark = False
        self._rates = {True: 0.0, False: 0.0}  # bytes a second of what the client sends, and of what it gets

    async def forward(self, upstream: list[WireFault], downstream: list[WireFault]) -> None:
        try:
            reader, writer = await _connected(self._targets)
        except OSError:
            self._reset()
            return
        self._writers.append(writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._quietly(self._client[0], writer, upstream, from_client=True))
            group.create_task(self._quietly(reader, self._client[1], downstream, from_client=False))

    def close(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
        for writer in self._writers:
            writer.close()

    async def _quietly(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        faults: list[WireFault],
        *,
        from_client: bool,
    ) -> None:
        try:
            await self._pump(reader, writer, faults, from_client=from_client)
        except _Closed:
            pass
        except (OSError, _Broken):
            # Both directions end with the first that breaks.
            self._reset()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        faults: list[WireFault],
        *,
        from_client: bool,
    ) -> None:
        due = sorted(faults, key=lambda fault: fault.after)
        offset = 0
        while data := await reader.read(_READ_BYTES):
            while due and due[0].after < offset + len(data):
                fault = due.pop(0)
                piece, data = data[: fault.after - offset], data[fault.after - offset :]
                offset += len(piece)
                await self._write(writer, piece, from_client=from_client)
                data = await self._damage(fault, data, from_client=from_client)
            offset += len(data)
            await self._write(writer, data, from_client=from_client)
        if self._dark:
            self.close()
        elif writer.can_write_eof():
            writer.write_eof()

    async def _damage(self, fault: WireFault, data: bytes, *, from_client: bool) -> bytes:
        """Do to the connection what *fault* says; return *data*, which comes next."""
        match fault.damage:
            case Damage.CLOSE:
                self.close()
                raise _Closed
            case Damage.RESET:
                raise _Broken
            case Damage.DELAY:
                await asyncio.sleep(fault.seconds)
            case Damage.THROTTLE:
                self._rates[from_client] = fault.bytes_per_second
            case Damage.SILENCE:
                self._dark = True
            case Damage.FLIP:
                return bytes(byte ^ fault.mask for byte in data[: fault.count]) + data[fault.count :]
            case Damage.DOUBLE:
                await self._double()
        return data

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, *, from_client: bool) -> None:
        if self._dark or not data:
            return
        if self._rates[from_client]:
            await asyncio.sleep(len(data) / self._rates[from_client])
        if from_client:
            self._sent += data
            if self._second is not None:
                with suppress(OSError):
                    self._second.write(data)
                    await self._second.drain()
        self._moved(len(data))
        writer.write(data)
        await writer.drain()

    async def _double(self) -> None:
        """Send what the client has sent over a second connection, too, and all that follows; drop its responses."""
        if self._second is None:
            reader, self._second = await _connected(self._targets)
            self._writers.append(self._second)
            self._second.write(bytes(self._sent))
            self._draining = asyncio.create_task(reader.read(-1))

    def _reset(self) -> None:
        for writer in self._writers:
            with suppress(OSError, AttributeError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            writer.transport.abort()


async def _connected(targets: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first of *targets* that takes it."""
    problem: OSError = ConnectionRefusedError()
    for target in targets:
        host, _, port = target.rpartition(":")
        try:
            return await (asyncio.open_connection(host, int(port)) if host else asyncio.open_unix_connection(target))
        except OSError as exc:
            problem = exc
    raise problem
