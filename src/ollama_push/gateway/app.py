"""Puts the gateway together as an aiohttp application, which others can mount."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ollama_push.client import AsyncRegistryClient
from ollama_push.client._lanes import Lane
from ollama_push.gateway.access import AccessControl
from ollama_push.gateway.connections import begin_request
from ollama_push.gateway.egress.transport import new_egress_transport
from ollama_push.gateway.health import Metrics, add_health
from ollama_push.gateway.pull.handler import PullHandler
from ollama_push.gateway.pull.service import serving_pulls
from ollama_push.gateway.pull_history import PullHistory
from ollama_push.gateway.push_handler import PushHandler
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.replicas import Replicas
from ollama_push.gateway.responses import plain_response
from ollama_push.gateway.settings import GatewaySettings
from ollama_push.gateway.status_page.feed import pulls_text
from ollama_push.gateway.status_page.pages import add_pages
from ollama_push.gateway.tags import add_tags
from ollama_push.local import Credentials

__all__ = ["PUSH_HISTORY", "create_app"]

PUSH_HISTORY: Final = web.AppKey("ollama_push_history", PushHistory)
"""Key under which an application of :func:`create_app` keeps its history of pushes."""

_READERS: Final = 4
"""Models whose files are looked up at the same time."""
_LISTERS: Final = 1
"""Lists of all models that are made at the same time: whoever asks meanwhile gets the same one."""


def create_app(settings: GatewaySettings | None = None) -> web.Application:
    """Return the gateway as an application of its own; run it, or mount it with ``add_subapp``.

    When it shuts down, running pushes are interrupted at the end of the parts they are sending, each response ends with
    an error line, and what was sent is kept for the next push.
    """
    settings = settings or GatewaySettings()
    app = web.Application()
    history = app[PUSH_HISTORY] = PushHistory(settings.max_pushes)
    replicas = Replicas(settings.shared, history)
    metrics = Metrics()
    # Of the list of models, and of all else: whoever asks for the list again and again holds up no push.
    listing, reading = Lane("gateway-list", _LISTERS), Lane("gateway-store", _READERS)
    # A client names the registry: the login in the environment is not for all of them.
    credentials = settings.credentials or Credentials(environment_for=settings.named_hosts)
    hooks = (*settings.hooks, *metrics.hooks)
    pushes = PushHandler(settings, history, reading, credentials, replicas, hooks=hooks)
    app.router.add_post("/api/push", pushes.handle)
    add_health(app, history, metrics)
    add_tags(app, settings.store, listing)
    pulls = PullHandler(settings, PullHistory(settings.max_pulls, metrics.sink))
    if settings.pull:
        pulls.add_routes(app)
    if settings.ui:
        add_pages(app, history, pulls=lambda: pulls_text(pulls.history.counts))
    access = AccessControl(settings, app.router.resources())

    async def run_client(_app: web.Application) -> AsyncIterator[None]:
        transport = new_egress_transport(settings.rules, ca_file=settings.ca_file, client_cert=settings.client_cert)
        try:
            # A client names the registry: the login in the environment is not for all of them.
            credentials = settings.credentials or Credentials(environment_for=settings.named_hosts)
            client = AsyncRegistryClient(
                store=settings.store,
                credentials=credentials,
                transport=transport,
                hooks=hooks,
                retry=settings.retry,
                concurrency=settings.concurrency,
                plain_http=settings.plain_http,
                verify=settings.verify,
                resume=settings.resume,
                stall_timeout=settings.stall_timeout,
                max_bytes_per_second=settings.max_bytes_per_second,
            )
            async with client, serving_pulls(pulls, transport, credentials, reading), replicas.meeting():
                pushes.client = client
                yield
        finally:
            listing.retire()
            reading.retire()
            await transport.aclose()

    async def set_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)  # a real server sends none
        response.headers.update(access.cors_headers(request))

    async def shut_down(_app: web.Application) -> None:
        history.close()
        pushes.shut_down()
        pulls.shut_down()

    app.middlewares.append(_middleware(access))
    app.cleanup_ctx.append(run_client)
    app.on_response_prepare.append(set_headers)
    app.on_shutdown.append(shut_down)
    return app


def _middleware(access: AccessControl) -> Middleware:
    @web.middleware
    async def controlled(request: web.Request, handler: Handler) -> web.StreamResponse:
        begin_request(request)
        if (refusal := access.refusal(request)) is not None:
            return refusal
        if (error := request.match_info.http_exception) is not None:
            return _not_routed(request, error)
        return await handler(request)

    return controlled


def _not_routed(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return the response to a path or a method that is not served, as gin and Go's mux do."""
    path = request.rel_url.raw_path
    cleaned = posixpath.normpath(f"/{path.lstrip('/')}")
    routes = {resource.canonical for resource in request.match_info.apps[-1].router.resources()}
    if cleaned != path and cleaned in routes:
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        # 307 keeps the method; a 301 would turn a POST into a GET.
        return web.Response(status=307, headers={"Location": f"{cleaned}{query}"})
    if isinstance(error, web.HTTPMethodNotAllowed):
        return plain_response(405, "405 method not allowed", {"Allow": ", ".join(sorted(error.allowed_methods))})
    return plain_response(404, "404 page not found")
