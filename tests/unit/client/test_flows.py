"""What is read of a response, sync and async: as much as a small response may hold, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from ollama_push.client._flows_async import send_request_async
from ollama_push.client._flows_sync import send_request
from ollama_push.core.errors import ConnectionLost, TransportTimeout
from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import MAX_RESPONSE_BYTES, BufferedResponse

REQUEST = HttpRequest("GET", "http://h/")


class Endless:
    """A transport of either kind whose response never ends."""

    status = 200

    def __init__(self) -> None:
        self.given = 0

    def clock(self) -> float:
        return 0.0

    def _chunk(self) -> bytes:
        self.given += 1
        return b"x" * 3_000_000

    def _chunks(self) -> Iterator[bytes]:
        while True:
            yield self._chunk()

    async def _chunks_async(self) -> AsyncIterator[bytes]:
        while True:
            yield self._chunk()

    @contextmanager
    def open(self, _request: HttpRequest, /) -> Iterator[Any]:
        yield SimpleNamespace(status=self.status, headers={"a": "b"}, chunks=self._chunks)

    @asynccontextmanager
    async def open_async(self, _request: HttpRequest, /) -> AsyncIterator[Any]:
        yield SimpleNamespace(status=self.status, headers={"a": "b"}, chunks=self._chunks_async)


class Breaking(Endless):
    """The same, until the connection breaks."""

    def _chunk(self) -> bytes:
        if self.given:
            raise ConnectionLost("http://h")
        return super()._chunk()


class Dripping(Endless):
    """The same, a byte and ten seconds at a time."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def _chunk(self) -> bytes:
        self.given += 1
        return b"x"

    def clock(self) -> float:
        return self.given * 10.0


def _read(kind: str, transport: Endless) -> BufferedResponse:
    if kind == "sync":
        return send_request(transport, REQUEST, transport.clock)
    twin: Any = SimpleNamespace(open=transport.open_async)
    return asyncio.run(send_request_async(twin, REQUEST, transport.clock))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_response_is_read_up_to_a_limit(kind: str) -> None:
    transport = Endless()
    response = _read(kind, transport)
    assert (response.status, response.headers, len(response.body)) == (200, {"a": "b"}, MAX_RESPONSE_BYTES)
    assert transport.given == 3


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_response_that_drips_is_not_read_to_its_end(kind: str) -> None:
    transport = Dripping(200)
    with pytest.raises(TransportTimeout, match="did not complete its response within 60 s"):
        _read(kind, transport)
    assert transport.given == 7


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_error_that_drips_is_told_by_its_status(kind: str) -> None:
    response = _read(kind, Dripping(403))
    assert (response.status, response.body) == (403, b"x" * 7)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_response_that_breaks_off_is_told_with_its_status(kind: str) -> None:
    with pytest.raises(ConnectionLost) as caught:
        _read(kind, Breaking())
    assert caught.value.status == 200
