"""Transports that break one promise each."""

from __future__ import annotations

import gzip
import http.client
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote

from tests.support.plain_transports import Plain, PlainResponse

from ollama_push.core.errors import ConnectFailed, ConnectionLost, TransportError
from ollama_push.core.ports import HttpRequest, RequestBody

Connection = http.client.HTTPConnection
Raw = http.client.HTTPResponse


class UnquotesTheTarget(Plain):
    def target(self, request: HttpRequest) -> str:
        return unquote(super().target(request)).replace(" ", "+")


class CollectsTheBuffers(Plain):
    def buffers(self, body: RequestBody) -> Iterable[bytes | memoryview]:
        return list(super().buffers(body))


class SendsNothingInChunks(Plain):
    def framing(self, request: HttpRequest) -> Mapping[str, str]:
        return super().framing(request) if request.body else {"Transfer-Encoding": "chunked"}

    def buffers(self, body: RequestBody) -> Iterable[bytes | memoryview]:
        return super().buffers(body) if body else [b"0\r\n\r\n"]


class AsksForGzip(Plain):
    def headers(self, request: HttpRequest) -> Mapping[str, str]:
        return {"Accept-Encoding": "gzip, deflate", **super().headers(request)}


class KeepsCookies(Plain):
    jar: Mapping[str, str] = {}

    def headers(self, request: HttpRequest) -> Mapping[str, str]:
        return {**self.jar, **super().headers(request)}

    def names(self, raw: Raw) -> Mapping[str, str]:
        if cookie := raw.headers.get("Set-Cookie"):
            self.jar = {"Cookie": cookie.partition(";")[0]}
        return super().names(raw)


class TriesAgain(Plain):
    def exchange(self, connection: Connection, request: HttpRequest) -> Raw:
        try:
            return super().exchange(connection, request)
        except (OSError, http.client.HTTPException):
            connection.close()
            return super().exchange(connection, request)


class ReadsTheBodyFirst(Plain):
    def exchange(self, connection: Connection, request: HttpRequest) -> Raw:
        raw = super().exchange(connection, request)
        raw.peek(65536)
        return raw


class LastHeaderWins(Plain):
    def names(self, raw: Raw) -> Mapping[str, str]:
        return {name.lower(): value for name, value in raw.headers.items()}


class NamesAsSent(Plain):
    def names(self, raw: Raw) -> Mapping[str, str]:
        return {name: ", ".join(raw.headers.get_all(name, [])) for name in raw.headers}


class FillsABuffer(Plain):
    def read(self, raw: Raw) -> bytes:
        return raw.read(65536)


class LetsConnectionsBe(Plain):
    # Hangs up only when closed.
    def __init__(self, read_timeout: float) -> None:
        super().__init__(read_timeout)
        self.left: list[tuple[Connection, Raw | None]] = []

    def hang_up(self, connection: Connection, raw: Raw | None) -> None:
        self.left.append((connection, raw))

    def close(self) -> None:
        super().close()
        while self.left:
            super().hang_up(*self.left.pop())


class ClosesAtTheSecondTime(LetsConnectionsBe):
    def close(self) -> None:
        if self.closed:
            super().close()
        self.closed = True


class ReusesAnything(LetsConnectionsBe):
    # Sends the next request where the last answer is still coming from.
    def connect(self, request: HttpRequest) -> Connection:
        if not self.left:
            return super().connect(request)
        used, _raw = self.left[-1]
        connection = Connection(used.host, used.port)
        connection.sock = used.sock
        return connection


class ReadsTheRest(Plain):
    def hang_up(self, connection: Connection, raw: Raw | None) -> None:
        if raw is not None:
            raw.read()
        super().hang_up(connection, raw)


class Decodes(Plain):
    def response(self, raw: Raw, request: HttpRequest) -> PlainResponse:
        if raw.headers.get("Content-Encoding") == "gzip":
            return _Whole(self, raw, request, gzip.decompress(raw.read()))
        return super().response(raw, request)


class _Whole(PlainResponse):
    def __init__(self, transport: Plain, raw: Raw, request: HttpRequest, body: bytes) -> None:
        super().__init__(transport, raw, request)
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        yield self._body


class ReadsText(Plain):
    def read(self, raw: Raw) -> bytes:
        return super().read(raw).decode("utf-8", "replace").encode()


class RaisesOnStatus(Plain):
    def response(self, raw: Raw, request: HttpRequest) -> PlainResponse:
        if raw.status >= 400:
            raise ConnectionLost("http://peer", f"status {raw.status}")
        return super().response(raw, request)


class FollowsRedirects(Plain):
    def exchange(self, connection: Connection, request: HttpRequest) -> Raw:
        raw = super().exchange(connection, request)
        while location := raw.headers.get("Location"):
            raw.close()
            connection.close()
            connection.request("GET", location)
            raw = connection.getresponse()
        return raw


class LeaksLibraryErrors(Plain):
    @contextmanager
    def translated(self, request: HttpRequest) -> Iterator[None]:
        yield


class DropsTheCause(Plain):
    @contextmanager
    def translated(self, request: HttpRequest) -> Iterator[None]:
        try:
            with super().translated(request):
                yield
        except TransportError as exc:
            raise exc from None


class CallsRefusalALoss(Plain):
    def connect(self, request: HttpRequest) -> Connection:
        try:
            return super().connect(request)
        except ConnectFailed as exc:
            raise ConnectionLost(exc.address) from exc


class NamesNoAddress(Plain):
    def connect(self, request: HttpRequest) -> Connection:
        try:
            return super().connect(request)
        except ConnectFailed as exc:
            raise ConnectFailed("the server") from exc


class TakesAnyEnd(Plain):
    def read(self, raw: Raw) -> bytes:
        try:
            return super().read(raw)
        except (OSError, http.client.HTTPException):
            return b""

    def finish(self, raw: Raw) -> None:
        pass


class WantsFraming(Plain):
    def finish(self, raw: Raw) -> None:
        if not raw.chunked and "Content-Length" not in raw.headers:
            raise ConnectionLost("http://peer", "the connection ended")


class WantsTheAnnouncedLength(Plain):
    def response(self, raw: Raw, request: HttpRequest) -> PlainResponse:
        raw.length = int(raw.headers.get("Content-Length", "0"))
        return super().response(raw, request)


class WaitsForEver(Plain):
    def silence(self, request: HttpRequest) -> float | None:
        return None


class LimitsEachReadAlone(Plain):
    response_class = http.client.HTTPResponse


class KnowsOneTimeout(Plain):
    def silence(self, request: HttpRequest) -> float | None:
        return self.read_timeout


class LimitsTheTotal(Plain):
    def exchange(self, connection: Connection, request: HttpRequest) -> Raw:
        self.deadline = time.monotonic() + self.read_timeout
        return super().exchange(connection, request)

    def read(self, raw: Raw) -> bytes:
        if time.monotonic() > self.deadline:
            raise TimeoutError
        return super().read(raw)


class TakesTheBodysErrorsForTheNetworks(Plain):
    def unmistaken(self, buffers: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        yield from buffers


class BlamesTheNetwork(Plain):
    def unmistaken(self, buffers: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        try:
            yield from buffers
        except Exception as exc:
            raise ConnectionLost("http://peer", str(exc)) from exc


class FillsUpTheBody(Plain):
    def exchange(self, connection: Connection, request: HttpRequest) -> Raw:
        self.missing, self.used = len(request.body), connection
        return super().exchange(connection, request)

    def unmistaken(self, buffers: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        try:
            for buffer in super().unmistaken(buffers):
                self.missing -= len(buffer)
                yield buffer
        finally:
            self.used.send(bytes(self.missing))


class SwallowsErrors(Plain):
    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[PlainResponse]:
        try:
            with super().open(request) as response:
                yield response
        except BaseException:  # noqa: BLE001 - that is what is wrong with it
            return


class TranslatesEverything(Plain):
    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[PlainResponse]:
        with self.translated(request), super().open(request) as response:
            yield response


class OpensAfterClose(Plain):
    def require_open(self) -> None:
        pass


class OneAtATime(Plain):
    def __init__(self, read_timeout: float) -> None:
        super().__init__(read_timeout)
        self.turn = threading.Lock()

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[PlainResponse]:
        with self.turn, super().open(request) as response:
            yield response
