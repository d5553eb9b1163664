"""One request on its way through the registry: its body, its fault and what it tells the log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from ollama_push.testing.registry.faults import Action, Fault, FaultDue, Hangup, LoseAnswer, Reply, Reset, Stall
from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.seen import Entry

if TYPE_CHECKING:  # the depot makes visits
    from ollama_push.testing.registry.app import RegistryState

__all__ = ["BROKEN_BODY", "RequestContext"]

BROKEN_BODY: Final = (ConnectionError, web.RequestPayloadError, BadHttpMessage)
"""What reading a body raises when its sender breaks off, or frames it wrongly."""

_LINGER_RST: Final = struct.pack("ii", 1, 0)  # l_onoff, l_linger: closing sends RST, see socket(7)


class RequestContext:
    """A request being answered.

    Args:
        depot: The registry.
        request: As aiohttp gives it.
        entry: Its record.
        fault: What goes wrong with it.
    """

    def __init__(self, depot: RegistryState, request: web.Request, entry: Entry, fault: Fault | None) -> None:
        self.depot = depot
        self.request = request
        self.entry = entry
        self.fault = fault

    @property
    def base(self) -> str:
        """Our origin as the client called it; empty where locations are relative."""
        if self.depot.quirks.relative_location:
            return ""
        return f"{self.request.scheme}://{self.request.host}"

    def query(self, name: str) -> str:
        """Return a query parameter; empty when absent."""
        return self.request.query.get(name, "")

    async def body(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """Give the body as it arrives, at most *limit* bytes.

        Raises:
            Refused: It is longer.
            FaultDue: So much was read that a fault is due.
        """
        length = self.request.content_length
        if limit is not None and length is not None and length > limit:
            raise _too_large(limit)
        stop = self.fault.after_bytes if self.fault is not None and not self.fault.is_last else None
        taken = 0
        while stop is not None or not self.request.content.at_eof():
            if stop is not None and taken >= stop:
                await self._reach_fault()
                stop = None
                continue
            data = await self.request.content.read(_room(stop, taken))
            if not data:
                break
            taken += len(data)
            self.entry.received(len(data))
            if limit is not None and taken > limit:
                raise _too_large(limit)
            yield data

    async def whole_body(self, limit: int) -> bytes:
        """Return the body, which has at most *limit* bytes.

        Raises:
            Refused: It is longer.
        """
        return b"".join([data async for data in self.body(limit)])

    async def _reach_fault(self) -> None:
        if self.fault is not None and isinstance(self.fault.action, Stall):
            await self.stall(self.fault.action.seconds)
            return
        raise FaultDue

    async def stall(self, seconds: float) -> None:
        """Do nothing for so long, or until the registry stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.depot.closing.wait(), seconds)

    async def act(self, action: Action, answer: web.StreamResponse | None = None) -> web.StreamResponse:
        """Do what a fault says; *answer* is the one it replaces."""
        match action:
            case Stall(seconds):
                await self.stall(seconds)
                return web.Response(status=503) if answer is None else answer
            case Reply(status, headers, body):
                return web.Response(status=status, headers=headers, body=body)
            case Reset():
                return self._cut(hard=True)
            case Hangup() | LoseAnswer():
                return self._cut(hard=False)

    def _cut(self, *, hard: bool) -> web.Response:
        self.entry.cut()
        transport = self.request.transport
        if transport is not None:
            if hard:
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
                transport.abort()
            else:
                transport.close()
        # aiohttp wants an answer; on a closed transport it goes nowhere.
        return web.Response(status=500)


def _room(stop: int | None, taken: int) -> int:
    read_bytes = 256 * 1024
    return read_bytes if stop is None else min(read_bytes, stop - taken)


def _too_large(limit: int) -> Refused:
    return Refused(413, "SIZE_INVALID", f"the body exceeds {limit} bytes", closes=True)
