"""A transport on http.client that keeps every clause: what the broken ones are made from, one change each."""

from __future__ import annotations

import http.client
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from ollama_push.core.errors import ConnectFailed, ConnectionLost, TransportTimeout, UsedAfterClose
from ollama_push.core.ports import HttpRequest

__all__ = ["Plain", "PlainResponse"]


class Plain:
    """One connection per request. Every method is a place where a transport can go wrong."""

    def __init__(self, read_timeout: float) -> None:
        self.read_timeout = read_timeout
        self.closed = False

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[PlainResponse]:
        if self.closed:
            self.refuse()
        connection = self.connect(request)
        try:
            with self.translated(request):
                raw = self.exchange(connection, request)
            yield self.answer(raw, request)
        finally:
            self.hang_up(connection)

    def close(self) -> None:
        self.closed = True

    def refuse(self) -> None:
        raise UsedAfterClose(type(self).__name__)
