"""Runs a flow of any kind, sends one request of it, and closes the transport. Its twin is ``_flows_async.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any, Final, Protocol, Self, TypeVar

import attrs

from ollama_push.core.errors import ConnectionLost, OllamaPushError
from ollama_push.core.ports import HttpRequest, Response, Transport
from ollama_push.core.responses import (
    BlobRequest,
    BufferedResponse,
    StreamedResponse,
    response_late,
    response_limit,
    response_seconds,
)

__all__ = ["OpenStream", "OwnsTransport", "open_blob", "run_flow", "send_request"]


class OpensRequests(Protocol):
    """What a request needs of a transport."""

    def open(self, request: HttpRequest, /) -> AbstractContextManager[Response]:
        """See :class:`ollama_push.core.ports.Transport`."""
        ...


E = TypeVar("E")
T = TypeVar("T")

_ERRORS: Final = 400


def run_flow(flow: Generator[E, Any, T], perform: Callable[[E], Any]) -> T:
    """Perform the effects of *flow* and return what it returns; our errors are raised where it waits."""
    with closing(flow):
        try:
            effect = next(flow)
            while True:
                try:
                    result = perform(effect)
                except OllamaPushError as exc:
                    effect = flow.throw(exc)
                else:
                    effect = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a generator's value is untyped


def send_request(
    transport: OpensRequests, request: HttpRequest, clock: Callable[[], float] = time.monotonic
) -> BufferedResponse:
    """Send *request* and read its whole response, in time; what *transport* raises passes through."""
    with transport.open(request) as response:
        return _read(response, request, clock)


def open_blob(transport: Transport, request: BlobRequest, block: ExitStack) -> BufferedResponse:
    """Send *request*; a success keeps *block*, in which its body is read later."""
    response = block.enter_context(transport.open(request))
    if response.status not in (200, 206):
        return _read(response, request, time.monotonic)
    stream = OpenStream(response.chunks(), block.pop_all())
    return StreamedResponse(response.status, dict(response.headers), b"", stream=stream)


@attrs.frozen
class OpenStream:
    """The body of a response while it arrives.

    Attributes:
        chunks: Its bytes.
    """

    chunks: Iterator[bytes]
    _block: ExitStack

    def close(self) -> None:
        """End the response."""
        self._block.close()


def _read(response: Response, request: HttpRequest, clock: Callable[[], float]) -> BufferedResponse:
    body, limit = bytearray(), response_limit(request)
    due = clock() + response_seconds(request)
    try:
        for chunk in response.chunks():
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


class OwnsTransport:
    """A client that closes its transport, unless it was given one."""

    def __init__(self, transport: Transport | None) -> None:
        self._owned = transport is None
        self._transport = _default_transport() if transport is None else transport
        self._closed = False

    def close(self) -> None:
        """Close the transport unless it was given. Idempotent."""
        self._closed = True
        if self._owned:
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _default_transport() -> Transport:
    from ollama_push.transports import Urllib3Transport  # noqa: PLC0415 - loads urllib3

    return Urllib3Transport()
