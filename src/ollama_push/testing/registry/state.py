"""One registry: what it holds, how it behaves, what it saw. Nothing here knows a request handler."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import attrs
from aiohttp import web

from ollama_push.testing.registry.auth import Access, Auth
from ollama_push.testing.registry.faults import FaultPlan
from ollama_push.testing.registry.quirks import BrokenPartPolicy, Quirks
from ollama_push.testing.registry.seen import Log
from ollama_push.testing.registry.sessions import Sessions
from ollama_push.testing.registry.store import Store

__all__ = ["RegistryState"]


@attrs.define(eq=False)
class RegistryState:
    """The state that the handlers of all requests share.

    Attributes:
        data: Folder on disk.
        auth: Who may do what; ``None`` lets everybody do everything.
        broken_parts: What a broken part does to its session.
        quirks: In what the registry differs from distribution 3.
        faults: Which requests fail, and how.
        log: Records of all requests.
        store: Blobs, manifests and tags.
        sessions: Open uploads.
        closing: Set when the registry stops.
        secret: Key of the signatures in redirects to blobs.
    """

    data: Path
    auth: Auth | None = None
    broken_parts: BrokenPartPolicy = BrokenPartPolicy.KEEPS_BROKEN_PARTS
    quirks: Quirks = attrs.field(factory=Quirks)
    faults: FaultPlan = attrs.field(factory=FaultPlan)
    log: Log = attrs.field(factory=Log)
    store: Store = attrs.field(init=False, default=attrs.Factory(lambda self: Store(self.data), takes_self=True))
    sessions: Sessions = attrs.field(
        init=False, default=attrs.Factory(lambda self: Sessions(self.data), takes_self=True)
    )
    closing: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    secret: bytes = attrs.field(init=False, factory=lambda: secrets.token_bytes(16), repr=False)

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        """Say whether *request* also allows *access*."""
        return self.auth is None or self.auth.may(request, access)
