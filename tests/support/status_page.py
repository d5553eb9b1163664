"""Books of pushes that are served, for tests of the status page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from ollama_push.core.events import LayerProgress, PushPlanned
from ollama_push.gateway.push_history import PushHistory, RunningPush
from ollama_push.gateway.status_page.pages import add_pages

__all__ = ["BLOB", "MODEL", "OTHER", "PATIENCE_SECONDS", "REGISTRY", "a_push_under_way", "begin", "running", "serving"]

REGISTRY: Final = "https://registry.example.com"
MODEL: Final = "registry.example.com/team/my-llama:v1"
BLOB: Final = f"sha256:{'49a7f1752a33':0<64}"
OTHER: Final = f"sha256:{'3f2a9c11d0aa':0<64}"
PATIENCE_SECONDS: Final = 20.0


@asynccontextmanager
async def serving(history: PushHistory, port: int = 0, **settings: Any) -> AsyncIterator[str]:
    """Serve the pages of *history* and yield their origin."""
    app = web.Application()
    add_pages(app, history, **settings)
    async with running(app, port) as origin:
        yield origin


@asynccontextmanager
async def running(app: web.Application, port: int = 0) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def begin(history: PushHistory, model: str = MODEL, target: str = REGISTRY) -> RunningPush:
    push = history.begin(model, target)
    assert push is not None
    return push


def a_push_under_way(history: PushHistory) -> RunningPush:
    push = begin(history)
    push.receive_event(PushPlanned(4_000_000_000))
    push.receive_event(LayerProgress(BLOB, 1_000_000_000, 1_000_000_000))
    push.receive_event(LayerProgress(OTHER, 3_000_000_000, 0))
    push.receive_event(LayerProgress(OTHER, 3_000_000_000, 1_500_000_000, "pushing 3f2a9c11d0aa"))
    return push
