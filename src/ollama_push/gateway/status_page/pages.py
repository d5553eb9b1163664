"""Serves the status page: the pushes that run and those that ended lately, updated by server-sent events.

``/ui`` is complete without its script. ``/ui/events`` sends the same pieces of HTML again when they change. Neither
shows a secret: the history holds none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from html import escape
from importlib import resources
from string import Template
from typing import Final

import attrs
from aiohttp import web

from ollama_push.core.version import __version__
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.status_page.feed import StatusFeed, counts_text, title_text
from ollama_push.gateway.status_page.rendering import push_items
from ollama_push.gateway.stream import TimedStream

__all__ = ["add_pages"]

_MAX_STREAMS: Final = 16
"""Streams at the same time; each renders for itself."""

_INTERVAL_SECONDS: Final = 0.25
_KEEP_ALIVE_SECONDS: Final = 15.0
"""Proxies close streams that are silent for long; the HTML standard advises 15 s (9.2.7)."""

_STALL_SECONDS: Final = 10.0
"""A reader that takes nothing for so long is disconnected; it comes back and begins with a ``whole``."""

_RECONNECT_MILLISECONDS: Final = 2000


def add_pages(
    app: web.Application,
    history: PushHistory,
    *,
    pulls: Callable[[], str] = lambda: "",
    watchers: int = _MAX_STREAMS,
    keep_alive: float = _KEEP_ALIVE_SECONDS,
    stall_timeout: float = _STALL_SECONDS,
) -> None:
    """Serve ``/ui`` and ``/ui/events`` from *app*. When *app* shuts down, *history* is closed, which ends the streams.

    Args:
        app: Not yet frozen.
        history: The pushes to show.
        pulls: Says what was pulled; empty when nothing was.
        watchers: Streams at the same time; one more gets a 503.
        keep_alive: Seconds of silence after which a comment is sent.
        stall_timeout: Seconds after which a reader that takes nothing is disconnected.
    """
    pages = _Pages(history, pulls, _Shell.load(), watchers, keep_alive, stall_timeout)
    app.router.add_get("/ui", pages.show)
    # A HEAD would run the stream, which does not end.
    app.router.add_get("/ui/events", pages.follow, allow_head=False)
    app.on_shutdown.append(pages.close)


@attrs.frozen
class _Shell:
    """The fixed parts of the page: style, script, and the policy that allows these two and nothing else."""

    frame: Template
    style: str
    script: str

    @classmethod
    def load(cls) -> _Shell:
        folder = resources.files("ollama_push.gateway.status_page") / "static"
        frame, style, script = ((folder / name).read_text("utf-8") for name in ("ui.html", "ui.css", "ui.js"))
        return cls(Template(frame), style, script)

    def headers(self) -> Mapping[str, str]:
        policy = (
            "default-src 'none'; connect-src 'self'; img-src data:; "
            f"style-src '{_hash(self.style)}'; script-src '{_hash(self.script)}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", **_PRIVATE}

    def page(self, history: PushHistory, pulls: str) -> str:
        records = history.records()
        return self.frame.substitute(
            style=self.style,
            script=self.script,
            title=title_text(history),
            moment=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            now=push_items(records, running=True),
            lately=push_items(records, running=False),
            kept=history.kept,
            counts=counts_text(history),
            pulls=escape(pulls),
            version=escape(__version__),
        )


_PRIVATE: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_STREAM_HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",
    **_PRIVATE,
}


@attrs.define(eq=False)
class _Pages:
    history: PushHistory
    pulls: Callable[[], str]
    shell: _Shell
    watchers: int
    keep_alive: float
    stall_timeout: float
    watching: int = 0

    async def show(self, _request: web.Request) -> web.Response:
        text = self.shell.page(self.history, self.pulls())
        return web.Response(text=text, content_type="text/html", charset="utf-8", headers=self.shell.headers())

    async def close(self, _app: web.Application) -> None:
        self.history.close()

    async def follow(self, request: web.Request) -> web.StreamResponse:
        if self.watching >= self.watchers:
            text = f"{self.watchers} pages are watching already; close one\n"
            return web.Response(status=503, text=text, headers={"Retry-After": "5", **_PRIVATE})
        stream = TimedStream(request, _STREAM_HEADERS, self.stall_timeout)
        self.watching += 1
        try:
            async with stream:
                await self._write_changes(stream)
        finally:
            self.watching -= 1
        return stream.response

    async def _write_changes(self, stream: TimedStream) -> None:
        """Write what changes until the history is closed."""
        feed = StatusFeed(self.history, asyncio.get_running_loop().time, self.keep_alive, self.pulls)
        await stream.write(f"retry: {_RECONNECT_MILLISECONDS}\n\n".encode())
        async with aclosing(self.history.subscribe(_INTERVAL_SECONDS, feed.heartbeat)) as news:
            async for records in news:
                stream.require_reader()
                message = feed.next_message(records)
                if message is not None:
                    await stream.write(message)


def _hash(text: str) -> str:
    """Return the hash of *text* in the form of a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
