"""Runs a gateway until a signal or an event stops it, as ``ollama-push serve`` does."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Final

import attrs
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError
from aiohttp.log import server_logger

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.hosts import is_loopback
from ollama_push.core.server.address import DEFAULT_PORT
from ollama_push.gateway.access import ACCESS_LOGGER
from ollama_push.gateway.app import create_app
from ollama_push.gateway.connections import ConnectionLimits, end_request
from ollama_push.gateway.listener import LimitedSite, room_for_connections
from ollama_push.gateway.settings import GatewaySettings

__all__ = ["ACCESS_LOGGER", "DEFAULT_ADDRESS", "AccessLog", "new_runner", "new_site", "serve"]

DEFAULT_ADDRESS: Final = ("127.0.0.1", DEFAULT_PORT)
"""As of a real server."""

_KEEP_ALIVE_SECONDS: Final = 75.0
"""Longer than reverse proxies keep an idle connection, so that they close it first; aiohttp's default is an hour."""

_LEEWAY_SECONDS: Final = 2.0
"""Time for clients to take their last line after the pushes' own grace, or to send the rest of a refused body."""


class AccessLog(AbstractAccessLogger):
    """Logs one line a request, with nothing of the client's but method and path: no query, no header, no body.

    aiohttp calls it once a request, also for those that never reach the application: it tells their connections, too.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        end_request(request)
        self.logger.info(
            "%s %s %s %d %d bytes %.3f s",
            request.remote or "-",
            request.method,
            request.rel_url.raw_path,
            response.status,
            response.body_length,
            time,
        )


class _ServerLog(logging.LoggerAdapter[logging.Logger]):
    """Logs for aiohttp, without its quotations of malformed requests: they may hold secrets."""

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:
        if isinstance(more.get("exc_info"), HttpProcessingError):
            # The access log has a line for each, and anybody can send as many as they like.
            level, more["exc_info"] = logging.DEBUG, None
        super().log(level, msg, *args, **more)


def new_runner(app: web.Application, settings: GatewaySettings) -> web.AppRunner:
    """Return a runner for *app*, which ``create_app`` made from the same settings."""
    return web.AppRunner(
        app,
        logger=_ServerLog(server_logger),
        access_log=ACCESS_LOGGER,
        access_log_class=AccessLog,
        # A real server ignores Content-Encoding, too; and a body that is not decompressed cannot grow.
        auto_decompress=False,
        # A refused body is read on for a while: a connection that is closed before could lose the response.
        lingering_time=min(settings.body_timeout, _LEEWAY_SECONDS),
        shutdown_timeout=settings.shutdown_grace + _LEEWAY_SECONDS,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
    )


def new_site(runner: web.AppRunner, settings: GatewaySettings, host: str, port: int) -> LimitedSite:
    """Return the listener for a runner of ``new_runner``."""
    limits = ConnectionLimits(
        total=room_for_connections(settings.max_connections),
        per_client=settings.max_connections_per_client,
        body_bytes=settings.max_body_bytes,
        head_seconds=settings.body_timeout,
        write_seconds=settings.response_timeout,
    )
    return LimitedSite(runner, host, port, limits)


async def serve(
    settings: GatewaySettings,
    host: str = DEFAULT_ADDRESS[0],
    port: int = DEFAULT_ADDRESS[1],
    *,
    started: Callable[[str, int], None] = lambda _host, _port: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until *stop* is set, or without it until SIGINT or SIGTERM; then shut down as ``create_app`` says.

    Args:
        settings: As for ``create_app``; ``loopback`` holds for loopback addresses only.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        started: Called with the address and port once it listens.
        stop: To be set in the loop's thread.

    Raises:
        InvalidSetting: The address cannot be listened on.
    """
    settings = attrs.evolve(settings, loopback=settings.loopback and is_loopback(host))
    runner = new_runner(create_app(settings), settings)
    try:
        await runner.setup()
        try:
            await new_site(runner, settings, host, port).start()
        except OSError as exc:
            problem = f"cannot listen there: {(exc.strerror or str(exc)).lower()}; choose another"
            raise InvalidSetting("listen", f"{host}:{port}", problem) from exc
        with _signals() if stop is None else nullcontext(stop) as stopped:
            started(*runner.addresses[0][:2])
            await stopped.wait()
    finally:
        await runner.cleanup()


@contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGINT and SIGTERM set; a second signal ends the process as usual.

    A signal that is ignored (as in ``command &`` of a script) stays so.
    """
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    handled = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]

    def stop() -> None:
        stopped.set()
        remove_handlers()

    def remove_handlers() -> None:
        for number in handled:
            loop.remove_signal_handler(number)

    with suppress(NotImplementedError):  # Windows: there Ctrl-C raises KeyboardInterrupt
        for number in handled:
            loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        with suppress(NotImplementedError):
            remove_handlers()
