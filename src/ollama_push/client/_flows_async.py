"""Runs a flow of any kind, sends one request of it, and closes the transport. Its twin is ``_flows_sync.py``."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from typing import Any, Final, Self, TypeVar

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.ports import AsyncTransport, HttpRequest
from ollama_push.core.responses import BufferedResponse, response_late, response_limit, response_seconds

__all__ = ["OwnsAsyncTransport", "run_flow_async", "send_request_async"]

E = TypeVar("E")
T = TypeVar("T")

_ERRORS: Final = 400


async def run_flow_async(flow: Generator[E, Any, T], perform: Callable[[E], Awaitable[Any]]) -> T:
    """Perform the effects of *flow* and return what it returns; our errors are raised where it waits."""
    with closing(flow):
        try:
            effect = next(flow)
            while True:
                try:
                    result = await perform(effect)
                except OllamaPushError as exc:
                    effect = flow.throw(exc)
                else:
                    effect = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a generator's value is untyped


async def send_request_async(
    transport: AsyncTransport, request: HttpRequest, clock: Callable[[], float] = time.monotonic
) -> BufferedResponse:
    """Send *request* and read its whole response, in time; what *transport* raises passes through."""
    body, limit = bytearray(), response_limit(request)
    async with transport.open(request) as response:
        due = clock() + response_seconds(request)
        async for chunk in response.chunks():
            body += chunk
            if len(body) >= limit:
                break
            if clock() > due:
                # The status of an error says enough; what is missing of its body are words.
                if response.status >= _ERRORS:
                    break
                raise response_late(request)
        return BufferedResponse(response.status, dict(response.headers), bytes(body[:limit]))


class OwnsAsyncTransport:
    """A client that closes its transport, unless it was given one."""

    def __init__(self, transport: AsyncTransport | None) -> None:
        self._owned = transport is None
        self._transport = _default_transport() if transport is None else transport
        self._closed = False

    async def aclose(self) -> None:
        """Close the transport unless it was given. Idempotent."""
        self._closed = True
        if self._owned:
            await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()


def _default_transport() -> AsyncTransport:
    from ollama_push.transports import AiohttpTransport  # noqa: PLC0415 - loads aiohttp

    return AiohttpTransport()
