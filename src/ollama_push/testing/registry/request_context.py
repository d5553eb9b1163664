"""One registry: what it holds, how it behaves, what it saw; and one request on its way through it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import attrs
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from ollama_push.testing.registry.auth import Auth
from ollama_push.testing.registry.faults import Action, Fault, FaultDue, FaultPlan, LoseAnswer, Reply, Stall
from ollama_push.testing.registry.quirks import BrokenPartPolicy, Quirks
from ollama_push.testing.registry.refused import Refused
from ollama_push.testing.registry.seen import Entry, Log
from ollama_push.testing.registry.store import Sessions, SignedPart, Store
from ollama_push.testing.server import Hangup, Reset, reset_on_close

__all__ = ["BROKEN_BODY", "READ_BYTES", "RegistryState", "RequestContext"]

BROKEN_BODY: Final = (ConnectionError, web.RequestPayloadError, BadHttpMessage)
"""What reading a body raises when the client disconnects, or when the framing is wrong."""

READ_BYTES: Final = 256 * 1024
"""How much of a body is read at a time."""


@attrs.define(eq=False)
class RegistryState:
    """The state that the handlers of all requests share.

    Attributes:
        data, auth, broken_parts, quirks: As of :class:`~ollama_push.testing.registry.EmbeddedRegistry`.
        faults: Which requests fail, and how.
        log: Records of all requests.
        store: Blobs, manifests and tags.
        sessions: Open uploads.
        closing: Set when the registry stops.
        secret: Key of the signatures in redirects to blobs, and in URLs for uploads.
        signed_parts: What may be sent to signed URLs, by session and then by the last component of the URL.
        signed_folder: Where that is kept.
    """

    data: Path
    auth: Auth | None
    broken_parts: BrokenPartPolicy
    quirks: Quirks
    faults: FaultPlan
    log: Log = attrs.field(factory=Log)
    store: Store = attrs.field(init=False)
    sessions: Sessions = attrs.field(init=False)
    closing: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    secret: bytes = attrs.field(init=False, repr=False)
    signed_parts: dict[str, dict[str, SignedPart]] = attrs.field(init=False, factory=dict)
    signed_folder: Path = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = Store(self.data)
        self.sessions = Sessions(self.data)
        self.secret = secrets.token_bytes(16)
        self.signed_folder = self.data / "signed"
        # What an earlier process has signed is void.
        shutil.rmtree(self.signed_folder, ignore_errors=True)
        self.signed_folder.mkdir(parents=True)


@attrs.frozen(eq=False)
class RequestContext:
    """A request and what its handler needs.

    Attributes:
        state: The registry.
        request: As aiohttp gives it.
        entry: Its record in the log.
        fault: What goes wrong with it, if anything.
    """

    state: RegistryState
    request: web.Request
    entry: Entry
    fault: Fault | None

    @property
    def base(self) -> str:
        """Our origin as the client called it; empty where locations are relative."""
        return "" if self.state.quirks.relative_location else self.origin

    @property
    def origin(self) -> str:
        """Our origin as the client called it."""
        return f"{self.request.scheme}://{self.request.host}"

    def query(self, name: str) -> str:
        """Return a query parameter; empty when absent."""
        return self.request.query.get(name, "")

    async def body(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, at most *limit* bytes.

        Raises:
            Refused: The body is longer than *limit*.
            FaultDue: As many bytes were read as the fault lets through.
        """
        length = self.request.content_length
        if limit is not None and length is not None and length > limit:
            raise _too_large(limit)
        fault = self.fault
        fault_at = fault.after_bytes if fault is not None and not fault.is_last else None
        taken = 0
        while fault_at is not None or not self.request.content.at_eof():
            if fault is not None and fault_at is not None and taken >= fault_at:
                if not isinstance(fault.action, Stall):
                    raise FaultDue(fault.action)
                await self.stall(fault.action.seconds)
                fault_at = None
                continue
            room = READ_BYTES if fault_at is None else min(READ_BYTES, fault_at - taken)
            data = await self.request.content.read(room)
            if not data:
                break
            taken += len(data)
            self.entry.received(len(data))
            if limit is not None and taken > limit:
                raise _too_large(limit)
            yield data

    async def whole_body(self, limit: int) -> bytes:
        """Return what :meth:`body` yields."""
        return b"".join([data async for data in self.body(limit)])

    async def stall(self, seconds: float) -> None:
        """Wait for *seconds*, or until the registry stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.state.closing.wait(), seconds)

    async def act(self, action: Action, response: web.StreamResponse | None = None) -> web.StreamResponse:
        """Do what a fault says; *response* is the one that the fault replaces or delays."""
        match action:
            case Stall(seconds):
                await self.stall(seconds)
                return web.Response(status=503) if response is None else response
            case Reply(status, headers, body):
                return web.Response(status=status, headers=headers, body=body)
            case Reset():
                return self._disconnect(reset=True)
            case Hangup() | LoseAnswer():
                return self._disconnect(reset=False)

    def _disconnect(self, *, reset: bool) -> web.Response:
        self.entry.was_cut = True
        transport = self.request.transport
        if transport is not None and reset:
            reset_on_close(transport.get_extra_info("socket"))
            transport.abort()
        elif transport is not None:
            transport.close()
        # A handler of aiohttp must return a response; on a closed transport it is not sent.
        return web.Response(status=500)


def _too_large(limit: int) -> Refused:
    return Refused(413, "SIZE_INVALID", f"the body exceeds {limit} bytes", closes=True)
