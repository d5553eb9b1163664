"""Runs a flow of any kind, and sends one request of it. Its twin is ``_flows_sync.py``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from typing import Any, TypeVar

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.ports import AsyncTransport, HttpRequest
from ollama_push.core.responses import MAX_RESPONSE_BYTES, BufferedResponse

__all__ = ["run_flow_async", "send_request_async"]

E = TypeVar("E")
T = TypeVar("T")


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


async def send_request_async(transport: AsyncTransport, request: HttpRequest) -> BufferedResponse:
    """Send *request* and read its whole response; what *transport* raises passes through."""
    body = bytearray()
    async with transport.open(request) as response:
        async for chunk in response.chunks():
            body += chunk
            if len(body) >= MAX_RESPONSE_BYTES:
                break
        return BufferedResponse(response.status, dict(response.headers), bytes(body[:MAX_RESPONSE_BYTES]))
