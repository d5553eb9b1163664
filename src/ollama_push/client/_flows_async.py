"""Runs a flow of any kind, sends one request of it, and closes the transport. Its twin is ``_flows_sync.py``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from typing import Any, Final, Protocol, Self, TypeVar

import attrs

from ollama_push.core.errors import ConnectionLost, OllamaPushError
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.core.responses import (
    BlobRequest,
    BufferedResponse,
    StreamedResponse,
    response_late,
    response_limit,
    response_seconds,
)

__all__ = ["OpenAsyncStream", "OwnsAsyncTransport", "open_blob_async", "run_flow_async", "send_request_async"]


class OpensAsyncRequests(Protocol):
    """What a request needs of an async transport."""

    def open(self, request: HttpRequest, /) -> AbstractAsyncContextManager[AsyncResponse]:
        """See :class:`ollama_push.core.ports.AsyncTransport`."""
        ...


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
    transport: OpensAsyncRequests, request: HttpRequest, clock: Callable[[], float] = time.monotonic
) -> BufferedResponse:
    """Send *request* and read its whole response, in time; what *transport* raises passes through."""
    async with transport.open(request) as response:
        return await _read(response, request, clock)


async def open_blob_async(transport: AsyncTransport, request: BlobRequest, block: AsyncExitStack) -> BufferedResponse:
    """Send *request*; a success keeps *block*, in which its body is read later."""
    response = await block.enter_async_context(transport.open(request))
    if response.status not in (200, 206):
        return await _read(response, request, time.monotonic)
    stream = OpenAsyncStream(response.chunks(), block.pop_all())
    return StreamedResponse(response.status, dict(response.headers), b"", stream=stream)


@attrs.frozen
class OpenAsyncStream:
    """The body of a response while it arrives.

    Attributes:
        chunks: Its bytes.
    """

    chunks: AsyncIterator[bytes]
    _block: AsyncExitStack

    async def aclose(self) -> None:
        """End the response."""
        await self._block.aclose()


async def _read(response: AsyncResponse, request: HttpRequest, clock: Callable[[], float]) -> BufferedResponse:
    body, limit = bytearray(), response_limit(request)
    due = clock() + response_seconds(request)
    try:
        async for chunk in response.chunks():
            body += chunk
            if len(body) >= limit:
                break
            if clock() > due:
                # The status of an error says enough; what is missing of its body are words.
                if response.status >= _ERRORS:
                    break
                raise response_late(request)
    except ConnectionLost as error:
        error.status = response.status
        raise
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
