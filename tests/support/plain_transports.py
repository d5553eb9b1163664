"""A transport on http.client that keeps every clause: what the broken ones are made from, one change each."""

from __future__ import annotations

import http.client
import io
import math
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, TransportTimeout, UsedAfterClose
from ollama_push.core.ports import AsyncSizedBody, HttpRequest, RequestBody

__all__ = ["Plain", "PlainResponse"]


class Plain:
    """One connection a request. Every method is a place where a transport can go wrong."""

    response_class: type[http.client.HTTPResponse]

    def __init__(self, read_timeout: float) -> None:
        self.read_timeout = read_timeout
        self.closed = False

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[PlainResponse]:
        self.require_open()
        connection = self.connect(request)
        raw: http.client.HTTPResponse | None = None
        try:
            try:
                with self.translated(request):
                    raw = self.exchange(connection, request)
            except _BodysOwn as own:
                error = own.error
            else:
                yield self.response(raw, request)
                return
        finally:
            self.hang_up(connection, raw)
        raise error

    def close(self) -> None:
        self.closed = True

    def require_open(self) -> None:
        if self.closed:
            raise UsedAfterClose(type(self).__name__)

    def connect(self, request: HttpRequest) -> http.client.HTTPConnection:
        address = urlsplit(request.url).netloc
        connection = http.client.HTTPConnection(address, timeout=self.silence(request))
        connection.response_class = self.response_class
        try:
            connection.connect()
        except OSError as exc:
            raise ConnectFailed(f"http://{address}", ConnectCause.REFUSED) from exc
        return connection

    def silence(self, request: HttpRequest) -> float | None:
        seconds = self.read_timeout if request.read_timeout is None else request.read_timeout
        return None if seconds == math.inf else seconds

    def exchange(self, connection: http.client.HTTPConnection, request: HttpRequest) -> http.client.HTTPResponse:
        connection.putrequest(request.method, self.target(request), skip_accept_encoding=True)
        for name, value in {**self.framing(request), **self.headers(request)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        for buffer in self.unmistaken(self.buffers(request.body)):
            connection.send(buffer)
        return connection.getresponse()

    def target(self, request: HttpRequest) -> str:
        parts = urlsplit(request.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def headers(self, request: HttpRequest) -> Mapping[str, str]:
        return request.headers

    def framing(self, request: HttpRequest) -> Mapping[str, str]:
        return {"Content-Length": str(len(request.body))}

    def buffers(self, body: RequestBody) -> Iterable[bytes | memoryview]:
        assert not isinstance(body, AsyncSizedBody)
        return [body] if isinstance(body, bytes) else body

    def unmistaken(self, buffers: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        try:
            yield from buffers
        except Exception as exc:
            raise _BodysOwn(exc) from exc

    def response(self, raw: http.client.HTTPResponse, request: HttpRequest) -> PlainResponse:
        return PlainResponse(self, raw, request)

    def names(self, raw: http.client.HTTPResponse) -> Mapping[str, str]:
        return {name.lower(): ", ".join(raw.headers.get_all(name, [])) for name in raw.headers}

    def read(self, raw: http.client.HTTPResponse) -> bytes:
        if isinstance(raw, _Timed):
            raw.wait()
        return raw.read1(65536)

    def finish(self, raw: http.client.HTTPResponse) -> None:
        if raw.length:
            raise ConnectionLost("http://peer", f"{raw.length} bytes are missing")

    def hang_up(self, connection: http.client.HTTPConnection, raw: http.client.HTTPResponse | None) -> None:
        connection.close()
        if raw is not None:
            raw.close()

    @contextmanager
    def translated(self, request: HttpRequest) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            raise TransportTimeout("http://peer", "read", self.silence(request) or 0.0) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise ConnectionLost("http://peer", str(exc)) from exc


class _Timed(http.client.HTTPResponse):
    """Waits for the whole head, and for each read of the body, only as long as for one read of the socket."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._socket, self._silence = sock, sock.gettimeout()
        self._raw = self.fp.detach()
        self.fp = io.BufferedReader(_Reads(self._before_read, self._raw))
        self.wait()

    def wait(self) -> None:
        self._due = time.monotonic() + (self._silence or 0)

    def _before_read(self) -> None:
        if self._silence is not None:
            left = self._due - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)


class _Reads(io.RawIOBase):
    def __init__(self, before: Callable[[], None], raw: Any) -> None:
        self._before, self._raw = before, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._before()
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


Plain.response_class = _Timed


class _BodysOwn(Exception):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class PlainResponse:
    def __init__(self, transport: Plain, raw: http.client.HTTPResponse, request: HttpRequest) -> None:
        self._transport = transport
        self._raw = raw
        self._request = request
        self.status = raw.status
        self.headers = transport.names(raw)

    def chunks(self) -> Iterator[bytes]:
        while True:
            with self._transport.translated(self._request):
                data = self._transport.read(self._raw)
            if not data:
                break
            yield data
        self._transport.finish(self._raw)
