"""The registry as an aiohttp application: which path means what, and what every request goes through."""

from __future__ import annotations

import asyncio
import errno
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from ssl import SSLContext
from typing import Final

import attrs
from aiohttp import web

from ollama_push.testing.registry import blobs, listings, manifests, uploads
from ollama_push.testing.registry.auth import Access, Auth
from ollama_push.testing.registry.faults import Fault, FaultDue, FaultPlan, LoseAnswer, Stall
from ollama_push.testing.registry.grammar import is_repository
from ollama_push.testing.registry.quirks import BrokenPartPolicy, Quirks
from ollama_push.testing.registry.refused import Refused, error_answer, text_404
from ollama_push.testing.registry.request_context import BROKEN_BODY, RequestContext
from ollama_push.testing.registry.seen import Entry, Log
from ollama_push.testing.registry.sessions import Sessions
from ollama_push.testing.registry.store import Store

__all__ = ["RegistryState", "registry_app"]

Handler = Callable[[RequestContext, Mapping[str, str]], Awaitable[web.StreamResponse]]

_LINGER_SECONDS: Final = 2.0
_READ_BYTES: Final = 256 * 1024

# The first that fits. Source: distribution-spec v1.1.1, "Endpoints".
_ROUTES: Final[tuple[tuple[re.Pattern[str], Mapping[str, Handler]], ...]] = tuple(
    (re.compile(pattern), handlers)
    for pattern, handlers in (
        (r"/v2/?", {"GET": listings.ping, "HEAD": listings.ping}),
        (r"/content/(?P<digest>[^/]+)", {"GET": blobs.content, "HEAD": blobs.content}),
        (r"/v2/(?P<name>.+)/blobs/uploads/?", {"POST": uploads.open_upload}),
        (
            r"/v2/(?P<name>.+)/blobs/uploads/(?P<session>[^/]+)",
            {"GET": uploads.status, "PATCH": uploads.patch, "PUT": uploads.commit, "DELETE": uploads.cancel},
        ),
        (r"/v2/(?P<name>.+)/blobs/(?P<digest>[^/]+)", {"GET": blobs.get, "HEAD": blobs.head, "DELETE": blobs.delete}),
        (
            r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)",
            {"GET": manifests.get, "HEAD": manifests.get, "PUT": manifests.put, "DELETE": manifests.delete},
        ),
        (r"/v2/(?P<name>.+)/tags/list", {"GET": listings.tags}),
        (r"/v2/(?P<name>.+)/referrers/(?P<digest>[^/]+)", {"GET": listings.referrers}),
    )
)

# Source: distribution ``registry/handlers/app.go``, ``appendAccessRecords``.
_ACTIONS: Final[Mapping[str, frozenset[str]]] = {
    "GET": frozenset({"pull"}),
    "HEAD": frozenset({"pull"}),
    "POST": frozenset({"pull", "push"}),
    "PUT": frozenset({"pull", "push"}),
    "PATCH": frozenset({"pull", "push"}),
    "DELETE": frozenset({"delete"}),
}
_DELETABLE: Final = (blobs.delete, manifests.delete)


@attrs.define(eq=False)
class RegistryState:
    """One registry: what it holds, how it behaves, what it saw.

    Attributes:
        data: Folder on disk.
        auth: Who may do what; ``None`` for everybody everything.
        temper: What a broken part does to its session.
        quirks: What is odd about it.
        faults: What goes wrong.
    """

    data: Path
    auth: Auth | None = None
    temper: BrokenPartPolicy = BrokenPartPolicy.KEEPS_BROKEN_PARTS
    quirks: Quirks = attrs.field(factory=Quirks)
    faults: FaultPlan = attrs.field(factory=FaultPlan)
    log: Log = attrs.field(factory=Log)
    secret: bytes = attrs.field(factory=lambda: secrets.token_bytes(16), repr=False)
    store: Store = attrs.field(init=False)
    sessions: Sessions = attrs.field(init=False)
    closing: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    _here: set[RequestContext] = attrs.field(init=False, factory=set)
    _unanswered: dict[int, Entry] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.store = Store(self.data)
        self.sessions = Sessions(self.data)

    def application(self, tls: SSLContext | None = None) -> web.Application:
        """Return the registry as an application; *tls* is what a token endpoint of its own serves with."""
        app = web.Application(
            # Bodies are stored as they come: a compressed one is none of our business.
            handler_args={"auto_decompress": False, "read_bufsize": _READ_BYTES, "lingering_time": _LINGER_SECONDS}
        )
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._note_status)
        app.on_shutdown.append(self._shut_down)
        if self.auth is not None:
            auth = self.auth
            app.cleanup_ctx.append(lambda _app: auth.serving(tls))
        return app

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        """Say whether *request* allows *access* too."""
        return self.auth is None or self.auth.may(request, access)

    async def _shut_down(self, _app: web.Application) -> None:
        """End what is in progress, as a process that is killed does."""
        self.closing.set()
        for visit in self._here:
            if visit.request.transport is not None:
                visit.request.transport.abort()

    async def _note_status(self, request: web.BaseRequest, answer: web.StreamResponse) -> None:
        # Here and not where the answer is made: a file's status (206, 416) shows only when it is prepared.
        # By identity, as requests are neither hashable nor, in every version of aiohttp, open for plain keys.
        if (entry := self._unanswered.pop(id(request), None)) is not None:
            entry.answered(answer.status)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        entry = self.log.arrived(request)
        visit = RequestContext(self, request, entry, self.faults.due(request.method, request.path_qs))
        self._unanswered[id(request)] = entry
        self._here.add(visit)
        try:
            return await self._answer(visit)
        finally:
            self._here.discard(visit)

    async def _answer(self, visit: RequestContext) -> web.StreamResponse:
        fault = visit.fault
        if fault is not None and fault.is_first:
            if not isinstance(fault.action, Stall):
                return await visit.act(fault.action)
            await visit.stall(fault.action.seconds)
        try:
            answer = await self._serve(visit)
        except FaultDue:
            return await visit.act(fault.action if fault is not None else LoseAnswer())
        return await visit.act(fault.action, answer) if fault is not None and fault.is_last else answer

    async def _serve(self, visit: RequestContext) -> web.StreamResponse:
        try:
            return await self._route(visit)
        except Refused as refused:
            return error_answer(refused, plain=self.quirks.plain_errors)
        except BROKEN_BODY:
            # Nobody is left to read this.
            return web.Response(status=400)
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            full = Refused(507, "UNKNOWN", "no space left on device", closes=True)
            return error_answer(full, plain=self.quirks.plain_errors)

    async def _route(self, visit: RequestContext) -> web.StreamResponse:
        request = visit.request
        if self.auth is not None and (endpoint := self.auth.endpoints().get(request.path)) is not None:
            return await endpoint(request)
        for pattern, handlers in _ROUTES:
            found = pattern.fullmatch(request.path)
            if found is not None:
                return await self._dispatch(visit, handlers.get(request.method), found.groupdict())
        return text_404()

    async def _dispatch(
        self, visit: RequestContext, handler: Handler | None, path: Mapping[str, str]
    ) -> web.StreamResponse:
        name = path.get("name")
        if name is not None and not is_repository(name):
            if self.quirks.plain_404:
                return text_404()
            raise Refused(404, "NAME_INVALID", "invalid repository name")
        if self.auth is not None and handler is not blobs.content:
            actions = _ACTIONS.get(visit.request.method, frozenset({"push"}))
            self.auth.check(visit.request, None if name is None else Access(name, actions))
        if handler is None or (self.quirks.no_delete and handler in _DELETABLE):
            raise Refused(405, "UNSUPPORTED", "the operation is unsupported")
        return await handler(visit, path)


def registry_app(
    data: Path,
    *,
    auth: Auth | None = None,
    tls: SSLContext | None = None,
    temper: BrokenPartPolicy = BrokenPartPolicy.KEEPS_BROKEN_PARTS,
    quirks: Quirks | None = None,
    faults: Iterable[Fault] = (),
) -> web.Application:
    """Return a registry as an application, to be run by whoever has a loop (``aiohttp.web.run_app``).

    Args:
        data: Folder it keeps everything in; made when it is missing.
        auth: Who may do what; ``None`` for everybody everything.
        tls: What the token endpoint of *auth* serves with, when it has one of its own.
        temper: What a broken part does to its session.
        quirks: What is odd about it.
        faults: What goes wrong.
    """
    return RegistryState(data, auth, temper, quirks or Quirks(), FaultPlan(faults)).application(tls)
