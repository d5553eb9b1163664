"""The registry as an aiohttp application: which path has which handler, and what every request goes through."""

from __future__ import annotations

import errno
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from ssl import SSLContext
from typing import Final

from aiohttp import web

from ollama_push.testing.registry import blobs, manifests, signed_uploads
from ollama_push.testing.registry.auth import Access, Auth
from ollama_push.testing.registry.faults import Fault, FaultDue, FaultPlan, Stall
from ollama_push.testing.registry.quirks import BrokenPartPolicy, Quirks
from ollama_push.testing.registry.refused import Refused, is_repository, unknown_path_response
from ollama_push.testing.registry.request_context import BROKEN_BODY, READ_BYTES, RegistryState, RequestContext

__all__ = ["application_of", "registry_app"]

# Called with the context and, by name, the groups of the path's pattern.
_Handler = Callable[..., Awaitable[web.StreamResponse]]

_LINGER_SECONDS: Final = 2.0


async def _get_version(_context: RequestContext) -> web.StreamResponse:
    """``GET /v2/``: a registry is here."""
    return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})


# The first pattern that fits counts. Source: distribution-spec v1.1.1, "Endpoints".
_ROUTES: Final[tuple[tuple[re.Pattern[str], Mapping[str, _Handler]], ...]] = tuple(
    (re.compile(pattern), handlers)
    for pattern, handlers in (
        (r"/v2/?", {"GET": _get_version, "HEAD": _get_version}),
        (r"/content/(?P<digest>[^/]+)", {"GET": blobs.get_content, "HEAD": blobs.get_content}),
        (r"/signed/(?P<session_id>[^/]+)/(?P<part>[0-9]{1,18}|whole)", {"PUT": signed_uploads.put_signed}),
        (r"/v2/(?P<repository>.+)/blobs/uploads/?", {"POST": blobs.open_upload}),
        (
            r"/v2/(?P<repository>.+)/blobs/uploads/(?P<session_id>[^/]+)",
            {
                "GET": blobs.get_upload,
                "PATCH": blobs.patch_upload,
                "PUT": blobs.put_upload,
                "DELETE": blobs.delete_upload,
            },
        ),
        (
            r"/v2/(?P<repository>.+)/blobs/(?P<digest>[^/]+)",
            {"GET": blobs.get_blob, "HEAD": blobs.head_blob, "DELETE": blobs.delete_blob},
        ),
        (
            r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)",
            {
                "GET": manifests.get_manifest,
                "HEAD": manifests.get_manifest,
                "PUT": manifests.put_manifest,
                "DELETE": manifests.delete_manifest,
            },
        ),
        (r"/v2/(?P<repository>.+)/tags/list", {"GET": manifests.list_tags}),
        (r"/v2/(?P<repository>.+)/referrers/(?P<digest>[^/]+)", {"GET": manifests.list_referrers}),
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
# A signature is all the authorization that they take.
_SIGNED: Final = (blobs.get_content, signed_uploads.put_signed)
_NO_DELETE: Final = (blobs.delete_blob, manifests.delete_manifest)


class _Pipeline:
    """What every request goes through: its record, its fault, authorization, its handler."""

    def __init__(self, state: RegistryState) -> None:
        self._state = state
        # Requests without a response so far, by identity: a request is not hashable, and how it stores values
        # of others differs between versions of aiohttp.
        self._active: dict[int, RequestContext] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        state = self._state
        fault = state.faults.due(request.method, request.path_qs)
        context = RequestContext(state, request, state.log.arrived(request), fault)
        self._active[id(request)] = context
        if fault is not None and fault.is_first:
            if not isinstance(fault.action, Stall):
                return await context.act(fault.action)
            await context.stall(fault.action.seconds)
        try:
            response = await self._respond(context)
        except FaultDue as due:
            return await context.act(due.action)
        return await context.act(fault.action, response) if fault is not None and fault.is_last else response

    async def note_status(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Note the status when *response* is prepared, as only then a file's status (206, 416) is known."""
        if (context := self._active.pop(id(request), None)) is not None:
            context.entry.answered(response.status)

    async def shut_down(self, _app: web.Application) -> None:
        """Cancel what is in progress, as the kill of a process does."""
        self._state.closing.set()
        for context in self._active.values():
            if context.request.transport is not None:
                context.request.transport.abort()

    async def _respond(self, context: RequestContext) -> web.StreamResponse:
        try:
            return await self._route(context)
        except Refused as refused:
            return refused.response(plain=self._state.quirks.plain_errors)
        except BROKEN_BODY:
            # The connection is gone or out of step, so nobody reads this.
            return web.Response(status=400)
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            full = Refused(507, "UNKNOWN", "no space left on device", closes=True)
            return full.response(plain=self._state.quirks.plain_errors)

    async def _route(self, context: RequestContext) -> web.StreamResponse:
        request, auth = context.request, self._state.auth
        if auth is not None and (handler := auth.endpoints().get(request.path)) is not None:
            return await handler(request)
        for pattern, handlers in _ROUTES:
            found = pattern.fullmatch(request.path)
            if found is not None:
                return await self._dispatch(context, handlers.get(request.method), found.groupdict())
        return unknown_path_response()

    async def _dispatch(
        self, context: RequestContext, handler: _Handler | None, groups: Mapping[str, str]
    ) -> web.StreamResponse:
        repository = groups.get("repository")
        if repository is not None and not is_repository(repository):
            if self._state.quirks.plain_404:
                return unknown_path_response()
            raise Refused(404, "NAME_INVALID", "invalid repository name")
        if self._state.auth is not None and handler not in _SIGNED:
            actions = _ACTIONS.get(context.request.method, frozenset({"push"}))
            self._state.auth.check(context.request, None if repository is None else Access(repository, actions))
        if handler is None or (self._state.quirks.no_delete and handler in _NO_DELETE):
            raise Refused(405, "UNSUPPORTED", "the operation is unsupported")
        return await handler(context, **groups)


def application_of(state: RegistryState, tls: SSLContext | None) -> web.Application:
    """Return an application that serves *state*; a token endpoint with an origin of its own uses *tls*."""
    pipeline = _Pipeline(state)
    app = web.Application(
        # Bodies are stored as they arrive, also with a content coding.
        handler_args={"auto_decompress": False, "read_bufsize": READ_BYTES, "lingering_time": _LINGER_SECONDS}
    )
    app.router.add_route("*", "/{path:.*}", pipeline.handle)
    app.on_response_prepare.append(pipeline.note_status)
    app.on_shutdown.append(pipeline.shut_down)
    if (auth := state.auth) is not None:
        app.cleanup_ctx.append(lambda _app: auth.serving(tls))
    return app


def registry_app(
    data: Path,
    *,
    auth: Auth | None = None,
    tls: SSLContext | None = None,
    broken_parts: BrokenPartPolicy = BrokenPartPolicy.KEEPS_BROKEN_PARTS,
    quirks: Quirks | None = None,
    faults: Iterable[Fault] = (),
) -> web.Application:
    """Return a registry as an application, for an event loop of the caller's (``aiohttp.web.run_app``).

    The arguments are those of :class:`~ollama_push.testing.registry.EmbeddedRegistry`.
    """
    return application_of(RegistryState(data, auth, broken_parts, quirks or Quirks(), FaultPlan(faults)), tls)
