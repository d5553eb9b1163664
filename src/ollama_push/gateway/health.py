"""Serves the state of the gateway to people, load balancers and Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from ollama_push.contrib.metrics import MetricsHook, MetricsSink
from ollama_push.contrib.metrics.catalogue import PULL_METRICS
from ollama_push.core.ports import Hook
from ollama_push.core.server.check import GATEWAY_KEY, PRIVATE_KEY
from ollama_push.core.version import __version__
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.responses import json_response, plain_response

__all__ = ["Metrics", "add_health"]

_GREETING: Final = "Ollama is running"
"""The text that clients look for (ollama ``server/routes.go``)."""
_NO_ACCOUNT: Final[Mapping[str, Any]] = {}
"""``ollama push`` of a name without a host asks who is signed in, and pushes nothing when the response is an error
(ollama ``cmd/cmd.go`` ``PushHandler``, v0.12+). Nobody is signed in here: each push shows the login of its registry."""


class Metrics:
    """Measures the pushes of one gateway; needs the extra ``prometheus``.

    Attributes:
        hooks: For the client; empty without the extra.
        sink: Takes measurements of pulls; ``None`` without the extra.
    """

    def __init__(self) -> None:
        self.hooks: tuple[Hook, ...] = ()
        self.sink: MetricsSink | None = None
        self._render: Callable[[], bytes] | None = None
        self._content_type = ""
        try:
            from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415 - extra

            from ollama_push.contrib.metrics import PrometheusSink  # noqa: PLC0415 - extra
        except ImportError:
            return
        registry = CollectorRegistry()
        sink = self.sink = PrometheusSink(registry)
        sink.declare(PULL_METRICS)
        self.hooks = (MetricsHook(sink),)
        self._render = lambda: generate_latest(registry)
        self._content_type = CONTENT_TYPE_LATEST

    async def show(self, _request: web.Request) -> web.Response:
        """Respond to ``GET /metrics``."""
        if self._render is None:
            return plain_response(404, "metrics need: pip install 'ollama-push[prometheus]'\n")
        return web.Response(body=self._render(), headers={"Content-Type": self._content_type})


def add_health(app: web.Application, history: PushHistory, metrics: Metrics) -> None:
    """Serve ``/``, ``/api/version``, ``/api/me``, ``/healthz`` and ``/metrics`` from *app*."""

    async def greet(_request: web.Request) -> web.Response:
        return web.Response(body=_GREETING.encode(), headers={"Content-Type": "text/plain; charset=utf-8"})

    async def version(_request: web.Request) -> web.Response:
        return json_response(200, {"version": __version__, GATEWAY_KEY: True, PRIVATE_KEY: True})

    async def account(_request: web.Request) -> web.Response:
        return json_response(200, _NO_ACCOUNT)

    async def health(_request: web.Request) -> web.Response:
        return json_response(200, {"status": "ok", "pushes": history.running})

    app.router.add_get("/", greet)
    app.router.add_get("/api/version", version)
    app.router.add_post("/api/me", account)
    app.router.add_get("/healthz", health)
    app.router.add_get("/metrics", metrics.show)
