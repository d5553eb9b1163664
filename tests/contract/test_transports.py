"""Every transport we ship or show keeps every clause."""

from __future__ import annotations

import math

import pytest
from examples.httpx_transport import AsyncHttpxTransport, HttpxTransport

from ollama_push.core.ports import HttpRequest, Transport
from ollama_push.testing.blocking import Blocking
from ollama_push.testing.contract import CLAUSES, Clause, MakeTransport
from ollama_push.transports import AiohttpTransport, Urllib3Transport
from ollama_push.transports._aiohttp import _client_timeout
from ollama_push.transports._framing import RequestLimits


def _urllib3(read_timeout: float) -> Transport:
    return Urllib3Transport(read_timeout=read_timeout)


def _aiohttp(read_timeout: float) -> Transport:
    return Blocking(lambda: AiohttpTransport(read_timeout=read_timeout))


def _httpx_async(read_timeout: float) -> Transport:
    return Blocking(lambda: AsyncHttpxTransport(read_timeout))


_UNLIMITED_IN_SYNC_HTTPX = {"T10 a head that drips", "T10 interim responses", "T10 framing that drips"}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_urllib3, id="urllib3"),
        pytest.param(_aiohttp, id="aiohttp"),
        pytest.param(HttpxTransport, id="httpx", marks=pytest.mark.slow),
        pytest.param(_httpx_async, id="httpx-async", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("clause", CLAUSES, ids=str)
def test_transport_keeps(clause: Clause, make: MakeTransport) -> None:
    # What the example says that it cannot do.
    if make is HttpxTransport and str(clause) in _UNLIMITED_IN_SYNC_HTTPX:
        with pytest.raises(AssertionError, match="nothing was raised"):
            clause.check(make)
        return
    clause.check(make)


@pytest.mark.parametrize("silence", [0.5, math.inf])
def test_aiohttp_has_no_total_timeout(silence: float) -> None:
    # Its own default ends everything after 300 s, which no clause has the time to see. Silences are limited by
    # SilenceLimit alone, and clause T10 sees that.
    request = HttpRequest("GET", "http://h/", read_timeout=silence)
    timeout = _client_timeout(RequestLimits.of(request, connect=10.0, read=900.0))
    assert timeout.total is None
    assert timeout.sock_read is None
