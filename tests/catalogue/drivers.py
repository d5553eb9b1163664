"""The four ways to push, and the places a case can be played at."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Final

import trustme
from examples.httpx_transport import AsyncHttpxTransport, HttpxTransport
from tests.catalogue.case import Case, Place
from tests.support.server_push import Push, Told, push, push_awaited

from ollama_push.core.observations import EventSeen, Observation
from ollama_push.testing.server import ScriptedServer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

__all__ = ["DRIVERS", "play", "served"]

DRIVERS: Final[Mapping[str, Callable[[Push], Told]]] = {
    "urllib3": lambda asked: push(asked, Urllib3Transport()),
    "aiohttp": lambda asked: push_awaited(asked, lambda: AiohttpTransport(connect_timeout=1.0)),
    "httpx": lambda asked: push(asked, HttpxTransport()),
    "httpx-async": lambda asked: push_awaited(asked, AsyncHttpxTransport),
}


def play(case: Case, driver: str, *, stream: bool) -> Told:
    """Play *case* to one driver and return what the push told."""
    read = threading.Event()

    def note(seen: Observation) -> None:
        if isinstance(seen, EventSeen):
            read.set()

    with served(case, read) as host:
        return DRIVERS[driver](Push(host, stream, case.stall_timeout, hooks=(note,)))


@contextmanager
def served(case: Case, read: threading.Event) -> Iterator[str]:
    """Serve *case* and yield the address to push to; *read* is what its script may wait for."""
    if case.place is Place.REFUSED:
        # Bound but not listening: nobody else can take the port meanwhile, and connecting is refused.
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        return
    if case.place is Place.HTTPS_TO_PLAIN:
        with _answers_whatever_comes() as port:
            yield f"https://127.0.0.1:{port}"
        return
    tls = _server_context() if case.place in (Place.HTTP_TO_TLS, Place.UNTRUSTED) else None
    with ScriptedServer(case.steps(read), tls=tls) as server:
        scheme = "https" if case.place is Place.UNTRUSTED else "http"
        yield f"{scheme}://127.0.0.1:{server.port}"


@contextmanager
def _answers_whatever_comes() -> Iterator[int]:
    """Yield the port of a server that answers to what is no HTTP, as real ones do; one connection."""

    def serve() -> None:
        connection, _address = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@cache
def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context
