"""Puts the gateway together as an aiohttp application, which others can mount."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ollama_push.client import AsyncRegistryClient
from ollama_push.gateway.access import AccessControl
from ollama_push.gateway.egress.transport import new_egress_transport
from ollama_push.gateway.health import Metrics, add_health
from ollama_push.gateway.push_handler import PushHandler
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.responses import plain_response
from ollama_push.gateway.settings import GatewaySettings
from ollama_push.gateway.status_page.pages import add_pages
from ollama_push.gateway.tags import add_tags
from ollama_push.local import Credentials

__all__ = ["PUSH_HISTORY", "create_app"]

PUSH_HISTORY: Final = web.AppKey("ollama_push_history", PushHistory)
"""Key under which an application of :func:`create_app` keeps its history of pushes."""


def _credentials(settings: GatewaySettings) -> Credentials:
    """Return who we are: the login in the environment is not for whatever registry a client names."""
    default = settings.default_registry
    return Credentials(environment_for=(*settings.allow, *([default] if default else ())))


def create_app(settings: GatewaySettings | None = None) -> web.Application:
    """Return the gateway as an application of its own; run it, or mount it with ``add_subapp``.

    When it shuts down, running pushes end at the end of the parts they are sending, their clients are told so by an
    error line, and what was sent is kept for the next push.
    """
    settings = settings or GatewaySettings()
    app = web.Application()
    history = app[PUSH_HISTORY] = PushHistory(settings.max_pushes)
    metrics = Metrics()
    service = PushHandler(settings, history)
    app.router.add_post("/api/push", service.handle)
    add_health(app, history, metrics)
    add_tags(app, settings.store)
    if settings.ui:
        add_pages(app, history)
    guard = AccessControl(settings, app.router.resources())

    async def serving(_app: web.Application) -> AsyncIterator[None]:
        transport = new_egress_transport(settings.rules, settings.ca_file)
        try:
            client = AsyncRegistryClient(
                store=settings.store,
                credentials=settings.credentials or _credentials(settings),
                transport=transport,
                hooks=(*settings.hooks, *metrics.hooks),
                retry=settings.retry,
                concurrency=settings.concurrency,
                plain_http=settings.plain_http,
                verify=settings.verify,
                resume=settings.resume,
                stall_timeout=settings.stall_timeout,
            )
            async with client:
                service.client = client
                yield
        finally:
            await transport.aclose()

    async def sign(request: web.BaseRequest, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)  # a real server does not name what it is made of
        response.headers.update(guard.cors_headers(request))

    async def end(_app: web.Application) -> None:
        history.close()
        service.shut_down()

    app.middlewares.append(_middleware(guard))
    app.cleanup_ctx.append(serving)
    app.on_response_prepare.append(sign)
    app.on_shutdown.append(end)
    return app


def _middleware(guard: AccessControl) -> Middleware:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = guard.refusal(request)
        if refusal is not None:
            return refusal
        nowhere = request.match_info.http_exception
        return await handler(request) if nowhere is None else _elsewhere(request, nowhere)

    return guarded


def _elsewhere(request: web.Request, nowhere: web.HTTPException) -> web.Response:
    """Answer for a path or a method that is not served, as gin and Go's mux do."""
    path = request.rel_url.raw_path
    cleaned = posixpath.normpath(f"/{path.lstrip('/')}")
    routes = {resource.canonical for resource in request.match_info.apps[-1].router.resources()}
    if cleaned != path and cleaned in routes:
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        # Kept: 301 would turn a POST into a GET.
        return web.Response(status=307, headers={"Location": f"{cleaned}{query}"})
    if isinstance(nowhere, web.HTTPMethodNotAllowed):
        return plain_response(405, "405 method not allowed", {"Allow": ", ".join(sorted(nowhere.allowed_methods))})
    return plain_response(404, "404 page not found")
