"""A request is cancelled from another thread, whatever it waits for; urllib3 only, as tasks have their own way."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import pytest
import urllib3
from tests.support.raw_peer import PATIENCE, Peer, Zeros, serving
from tests.transports.conftest import Certificates

from ollama_push.core.errors import ConnectionLost
from ollama_push.core.ports import CancelsRequests, HttpRequest
from ollama_push.testing.server import NextRequest, ScriptedServer, Step, head
from ollama_push.transports import AiohttpTransport, Urllib3Transport
from ollama_push.transports._urllib3_cancel import ActiveRequests

MIB = 1 << 20
# More than the kernel buffers on loopback: who sends it waits for who takes it.
LARGE = 64 * MIB

Behave = Callable[["Stage"], None]


class Waiting:
    """A request in a thread of its own.

    Attributes:
        error: What ended it.
        received: The body of its response.
    """

    def __init__(self, transport: Urllib3Transport, request: HttpRequest) -> None:
        self.error: BaseException | None = None
        self.received = b""
        self._transport = transport
        self._request = request
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with self._transport.open(self._request) as response:
                for chunk in response.chunks():
                    self.received += chunk
        except BaseException as exc:  # noqa: BLE001 - the test judges it
            self.error = exc

    def cancel(self) -> None:
        self._transport.cancel(self._request)

    def ended(self) -> BaseException | None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.error

    def cancel_and_join(self) -> None:
        """Cancel the request, and check what its thread gets."""
        self.cancel()
        assert isinstance(error := self.ended(), ConnectionLost)
        assert "cancelled by another thread" in str(error)


@attrs.frozen
class Stage:
    """A peer that says where it is."""

    peer: Peer
    reached: threading.Event

    @property
    def url(self) -> str:
        return self.peer.url

    def wait_until_reached(self) -> None:
        assert self.reached.wait(PATIENCE)


@contextmanager
def staged(behave: Behave, certificates: Certificates, scheme: str) -> Iterator[tuple[Stage, Urllib3Transport]]:
    """Yield a peer that behaves like this and then waits for its client to leave, which it must."""
    reached = threading.Event()

    def play(peer: Peer) -> None:
        behave(Stage(peer, reached))
        reached.set()
        peer.release.wait(PATIENCE)
        peer.body(2 * LARGE)

    tls = certificates.server_context() if scheme == "https" else None
    with serving(play, tls) as peer, Urllib3Transport(ca_file=certificates.ca_file) as transport:
        yield Stage(peer, reached), transport
        peer.release.set()
        assert peer.gone.wait(PATIENCE)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def takes_the_request(stage: Stage) -> None:
    stage.peer.head()
    stage.peer.body(MIB)


def test_a_wait_for_the_head_ends(certificates: Certificates, scheme: str) -> None:
    with staged(takes_the_request, certificates, scheme) as (stage, transport):
        waiting = Waiting(transport, HttpRequest("PUT", stage.url, body=Zeros(MIB)))
        stage.wait_until_reached()
        waiting.cancel_and_join()


def test_a_body_that_nobody_takes_is_cancelled(certificates: Certificates, scheme: str) -> None:
    with staged(lambda stage: stage.peer.head(), certificates, scheme) as (stage, transport):
        waiting = Waiting(transport, HttpRequest("PUT", stage.url, body=Zeros(LARGE)))
        stage.wait_until_reached()
        waiting.cancel_and_join()


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        (b"Content-Length: 100\r\n", b"first"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nfirst\r\n"),
        (b"", b"first"),  # its end is the connection's own
    ],
    ids=["length", "chunked", "close"],
)
def test_a_response_that_does_not_end_is_cancelled(
    certificates: Certificates, scheme: str, fields: bytes, start: bytes
) -> None:
    def begins_to_respond(stage: Stage) -> None:
        stage.peer.head()
        stage.peer.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + start)

    with staged(begins_to_respond, certificates, scheme) as (stage, transport):
        waiting = Waiting(transport, HttpRequest("GET", stage.url))
        stage.wait_until_reached()
        waiting.cancel_and_join()


def test_a_request_on_a_kept_connection_is_cancelled(certificates: Certificates, scheme: str) -> None:
    def responds_once(stage: Stage) -> None:
        stage.peer.head()
        stage.peer.response(200)
        stage.peer.head()

    with staged(responds_once, certificates, scheme) as (stage, transport):
        assert Waiting(transport, HttpRequest("GET", stage.url)).ended() is None
        waiting = Waiting(transport, HttpRequest("GET", stage.url))
        stage.wait_until_reached()
        waiting.cancel_and_join()


def test_a_handshake_that_does_not_end_is_cancelled(certificates: Certificates) -> None:
    with staged(lambda stage: stage.peer.body(1), certificates, "http") as (stage, transport):
        waiting = Waiting(transport, HttpRequest("GET", stage.url.replace("http:", "https:")))
        stage.wait_until_reached()
        waiting.cancel_and_join()


def test_a_proxy_that_opens_no_tunnel_is_cancelled(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(lambda stage: stage.peer.head(), certificates, "http") as (stage, transport):
        monkeypatch.setenv("https_proxy", stage.url)
        monkeypatch.delenv("no_proxy", raising=False)
        waiting = Waiting(transport, HttpRequest("GET", "https://registry.example.com/"))
        stage.wait_until_reached()
        waiting.cancel_and_join()


@contextmanager
def crowded_port() -> Iterator[int]:
    """Yield a port whose queue is full: connecting to it takes until it times out."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waits = stack.enter_context(socket.socket())
            waits.settimeout(0.0)
            with contextlib.suppress(BlockingIOError):
                waits.connect(listener.getsockname())
        yield listener.getsockname()[1]


def test_connecting_is_cancelled() -> None:
    with crowded_port() as port, Urllib3Transport(connect_timeout=8 * PATIENCE) as transport:
        waiting = Waiting(transport, HttpRequest("GET", f"http://127.0.0.1:{port}/"))
        give_up = time.monotonic() + PATIENCE
        # Nothing tells from outside when it has begun to connect.
        while waiting.thread.is_alive() and time.monotonic() < give_up:
            waiting.cancel()
            waiting.thread.join(0.01)
        assert isinstance(waiting.ended(), ConnectionLost)


def kept(body: bytes) -> list[Step]:
    """Return a response whose connection can be used again."""
    return [head(200, {"Content-Length": str(len(body))}) + body, NextRequest()]


@pytest.mark.parametrize("injected", [False, True], ids=["own", "injected"])
def test_the_connection_of_a_cancelled_request_is_not_used_again(injected: bool) -> None:  # noqa: FBT001 - parametrized
    with ScriptedServer([*kept(b"x"), *kept(b"y")]) as server, urllib3.PoolManager() as pool:
        request = HttpRequest("GET", server.url)
        with Urllib3Transport(pool if injected else None) as transport:
            with transport.open(request) as response:
                assert b"".join(response.chunks()) == b"x"
                transport.cancel(request)
            with transport.open(HttpRequest("GET", server.url)):
                pass
            assert server.accepted == 2


def test_cancelling_a_request_that_has_ended_or_never_began_does_nothing() -> None:
    script = [*kept(b"x"), *kept(b"y"), *kept(b"z")]
    with ScriptedServer(script) as server, Urllib3Transport() as transport:
        request = HttpRequest("GET", server.url)
        transport.cancel(request)
        for body in (b"x", b"y", b"z"):
            with transport.open(request) as response:
                assert b"".join(response.chunks()) == body
            transport.cancel(request)
        assert server.accepted == 1


def responds_when_told_to(stage: Stage) -> None:
    stage.peer.head()
    stage.reached.set()
    stage.peer.release.wait(PATIENCE)
    stage.peer.response(200, body=b"late")


def test_only_the_very_request_is_cancelled() -> None:
    reached = threading.Event()
    with serving(lambda peer: responds_when_told_to(Stage(peer, reached))) as peer, Urllib3Transport() as transport:
        waiting = Waiting(transport, HttpRequest("GET", peer.url))
        assert reached.wait(PATIENCE)
        transport.cancel(HttpRequest("GET", peer.url))
        peer.release.set()
        assert waiting.ended() is None
        assert waiting.received == b"late"


def test_through_an_injected_pool_a_request_ends_when_its_response_comes(certificates: Certificates) -> None:
    with staged(responds_when_told_to, certificates, "http") as (stage, _transport):
        waiting = Waiting(Urllib3Transport(urllib3.PoolManager()), HttpRequest("GET", stage.url))
        stage.wait_until_reached()
        waiting.cancel()
        stage.peer.release.set()
        assert isinstance(waiting.ended(), ConnectionLost)
        assert waiting.received == b""


def test_a_transport_tells_whether_it_cancels_requests() -> None:
    assert isinstance(Urllib3Transport(), CancelsRequests)
    assert not isinstance(AiohttpTransport(), CancelsRequests)


def test_blocks_that_are_never_entered_leave_nothing_behind() -> None:
    requests = ActiveRequests()
    kept = [requests.add(HttpRequest("GET", "http://h")) for _ in range(10)]
    for _ in range(10_000):
        requests.add(HttpRequest("GET", "http://h"))
    assert len(requests._active) < 200
    requests.cancel(kept[3].request)
    assert [each.cancelled for each in kept] == [each is kept[3] for each in kept]
