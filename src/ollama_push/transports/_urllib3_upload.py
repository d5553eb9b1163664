"""How urllib3 sends a request: so that it can be broken off, and a body's errors are not taken for the network's."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, TypeVar

import urllib3
from urllib3 import exceptions as u3
from urllib3.connection import HTTPConnection, HTTPSConnection

from ollama_push.core.ports import RequestBody
from ollama_push.transports._framing import pieces
from ollama_push.transports._urllib3_cancel import ActiveRequests, RequestCancelled

__all__ = ["BodyFailed", "Upload", "prepared"]

PoolManager = TypeVar("PoolManager", bound=urllib3.PoolManager)

# How a socket says that its peer takes no more; TLS has words of its own.
_PEER_LEFT: Final = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class BodyFailed(Exception):
    """Carries an error of the body's own through urllib3, which takes an ``OSError`` for the network's."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Upload:
    """A request's body while it is sent.

    Args:
        body: The body.
        silence: Seconds that the peer may take nothing; ``None`` for no limit.

    Attributes:
        connection: Where it is sent; known while urllib3 sends the request.
        started: Whether the head was sent and the body's turn has come.
        whole: Whether all of it was handed to the operating system.
        stalled: Whether the peer took nothing for too long.
    """

    def __init__(self, body: RequestBody, silence: float | None) -> None:
        self._body = body
        self._silence = silence
        self.connection: HTTPConnection | None = None
        self.started = False
        self.whole = not len(body)
        self.stalled = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.started = True
        sock = None if self.connection is None else self.connection.sock
        if sock is not None:
            # Until here it is the connect timeout; urllib3 sets the read timeout after the body.
            sock.settimeout(self._silence)
        try:
            yield from pieces(self._body)
        except Exception as exc:
            raise BodyFailed(exc) from exc
        self.whole = True


class _FinalResponse(http.client.HTTPResponse):
    """Skips every interim answer (RFC 9110, 15.2) as http.client skips 100 Continue alone."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
        interim = 100 < status < 200 and status != http.client.SWITCHING_PROTOCOLS  # noqa: PLR2004 - the class 1xx
        return version, http.client.CONTINUE if interim else status, reason


class _Sending(HTTPConnection):
    """Tells an upload what becomes of it, and *lines* which socket it uses."""

    response_class = _FinalResponse

    def __init__(self, *args: Any, lines: ActiveRequests, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lines = lines

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            self._lines.go_over(self.sock)
        if not isinstance(body, Upload):
            super().request(method, url, body, *args, **options)
            return
        body.connection = self
        try:
            super().request(method, url, body, *args, **options)  # type: ignore[arg-type]  # the hints name bytes only
        except TimeoutError:
            body.stalled = body.started
            raise
        except _PEER_LEFT:
            # It may have answered before it left: urllib3 looks, and raises what it finds instead.
            if not body.started:
                raise
        finally:
            body.connection = None

    def _new_conn(self) -> socket.socket:
        """Do what urllib3 does here, but with a socket that is known before it is connected."""
        try:
            return self._connected()
        except UnicodeError as exc:
            raise u3.LocationParseError(f"{self.host!r}, label empty or too long") from exc
        except socket.gaierror as exc:
            raise u3.NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise u3.ConnectTimeoutError(self, f"connecting to {self.host} timed out") from exc
        except OSError as exc:
            raise u3.NewConnectionError(self, f"connecting failed: {exc}") from exc

    def _connected(self) -> socket.socket:
        failure = OSError("the host has no address")
        # With the dot at its end that a full name may have, which ``host`` lacks.
        for family, kind, protocol, _name, address in socket.getaddrinfo(
            self._dns_host, self.port, 0, socket.SOCK_STREAM
        ):
            try:
                return self._connected_to(address, family, kind, protocol)
            except RequestCancelled:
                raise
            except OSError as exc:
                failure = exc
        raise failure

    def _connected_to(self, address: Any, *kind: int) -> socket.socket:
        sock = socket.socket(*kind)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(self.timeout)
            self._lines.go_over(sock)
            sock.connect(address)
            # Again: it may have been broken off just before it began to connect.
            self._lines.go_over(sock)
        except BaseException:
            sock.close()
            raise
        return sock


class _SecureSending(_Sending, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    def __init__(self, *args: Any, lines: ActiveRequests, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ConnectionCls = partial(_Sending, lines=lines)  # type: ignore[assignment]  # it is only called


class _SecurePool(urllib3.HTTPSConnectionPool):
    def __init__(self, *args: Any, lines: ActiveRequests, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ConnectionCls = partial(_SecureSending, lines=lines)  # type: ignore[assignment]  # as above


def prepared(manager: PoolManager, lines: ActiveRequests) -> PoolManager:
    """Return *manager*, whose connections now send uploads as they are meant to be, and tell *lines*."""
    pools: dict[str, Any] = {"http": partial(_Pool, lines=lines), "https": partial(_SecurePool, lines=lines)}
    manager.pool_classes_by_scheme = pools
    return manager
