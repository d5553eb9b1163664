"""How aiohttp sends a body: with a timeout, without copies, and hanging up at once when it breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from ollama_push.core.ports import RequestBody
from ollama_push.transports._framing import pieces

__all__ = ["Upload"]


class Upload(aiohttp.Payload):
    """A request's body while it is sent.

    Args:
        body: The body.
        silence: Seconds that the peer may take nothing; ``None`` for no limit.
        head: Limits the wait for the answer's head; it starts anew when the body was sent.

    Attributes:
        head: As given.
        error: What the body itself raised.
        stalled: Whether the peer took nothing for too long.
    """

    def __init__(self, body: RequestBody, silence: float | None, head: asyncio.Timeout) -> None:
        super().__init__(body)
        self._silence = silence
        self.head = head
        self.error: Exception | None = None
        self.stalled = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> NoReturn:  # noqa: ARG002 - aiohttp's signature
        """Refuse: aiohttp wants a text for logs and digests, and this may be many GiB of no text."""
        raise TypeError("an upload is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body; called by aiohttp."""
        transport = writer.transport
        if transport is None:
            raise aiohttp.ClientConnectionResetError("the connection is gone")
        # Nothing stays behind in the loop: a buffer is sent when drain() returns and may be used again. asyncio
        # holds a writer back above this mark, and over TLS from it on (sslproto.py, _control_app_writing).
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("sslcontext") else 0)
        try:
            for buffer in self._buffers():
                await self._send(buffer, writer)
        except BaseException:
            # close() would wait until the peer has taken what it is not taking.
            transport.abort()
            raise
        transport.set_write_buffer_limits()
        if self._silence is not None:
            # aiohttp stops its own read timer at an interim answer (100 Continue) and would wait for ever.
            with suppress(RuntimeError):  # the head is here already
                self.head.reschedule(asyncio.get_running_loop().time() + 2 * self._silence)

    async def _send(self, buffer: bytes | memoryview, writer: AbstractStreamWriter) -> None:
        try:
            async with asyncio.timeout(self._silence):
                await writer.write(buffer)
                await writer.drain()
        except TimeoutError:
            self.stalled = True
            raise
        # Others get their turn even if the peer is fast, and an early answer is read before writing fails.
        await asyncio.sleep(0)

    def _buffers(self) -> Iterator[bytes | memoryview]:
        try:
            yield from pieces(self._value)
        except Exception as exc:
            self.error = exc
            raise
