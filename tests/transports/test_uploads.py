"""Large bodies: a peer that is slow, takes nothing, responds early or leaves, in both adapters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from tests.support.raw_peer import PATIENCE, Peer, Zeros, serving
from tests.transports.conftest import Certificates, MakeTransport

from ollama_push.core.errors import ConnectionLost, MachineMisuse, TransportTimeout
from ollama_push.core.ports import HttpRequest, RequestBody

MIB = 1 << 20
# More than the kernel buffers on loopback: who sends it waits for who takes it.
LARGE = 64 * MIB
SHORT = 0.3


def put(
    make: MakeTransport, peer: Peer, body: RequestBody, silence: float | None = None, **options: object
) -> tuple[int, bytes]:
    with (
        closing(make(**options)) as transport,
        transport.open(HttpRequest("PUT", peer.url, body=body, read_timeout=silence)) as response,
    ):
        return response.status, b"".join(response.chunks())


def takes_nothing(peer: Peer) -> None:
    peer.head()
    peer.release.wait(PATIENCE)
    peer.body(LARGE)


@pytest.mark.parametrize("body", [Zeros(LARGE), bytes(LARGE)], ids=["sized", "bytes"])
def test_a_peer_that_takes_nothing_is_a_write_timeout(make: MakeTransport, body: RequestBody) -> None:
    started = time.monotonic()
    with serving(takes_nothing) as peer:
        with pytest.raises(TransportTimeout) as caught:
            put(make, peer, body, SHORT)
        elapsed = time.monotonic() - started
        peer.release.set()
        assert peer.gone.wait(PATIENCE)
        assert 0 < peer.received < LARGE
    assert (caught.value.phase, caught.value.seconds) == ("write", SHORT)
    assert caught.value.address == peer.url.rstrip("/")
    assert caught.value.__cause__ is not None
    assert SHORT <= elapsed < PATIENCE / 2


def test_a_peer_that_takes_nothing_over_tls_is_a_write_timeout(make: MakeTransport, certificates: Certificates) -> None:
    with serving(takes_nothing, certificates.server_context()) as peer:
        with pytest.raises(TransportTimeout) as caught:
            put(make, peer, Zeros(LARGE), SHORT, ca_file=certificates.ca_file)
        assert caught.value.phase == "write"


@pytest.mark.parametrize("limit", [PATIENCE, math.inf])
def test_a_peer_may_be_slower_than_connecting_is_allowed_to_be(make: MakeTransport, limit: float) -> None:
    def syncs_its_disk(peer: Peer) -> None:
        peer.head()
        peer.release.wait(3 * SHORT)
        peer.body(LARGE)
        peer.response(201)

    with serving(syncs_its_disk) as peer:
        assert put(make, peer, Zeros(LARGE), limit, connect_timeout=SHORT, read_timeout=SHORT) == (201, b"")
        assert peer.received == LARGE


def test_a_body_may_take_longer_than_any_silence_in_it(make: MakeTransport) -> None:
    def takes_it_slowly(peer: Peer) -> None:
        peer.head()
        for _ in range(8):
            peer.release.wait(SHORT / 3)
            peer.body(LARGE // 8)
        peer.response(201)

    with serving(takes_it_slowly) as peer:
        # One buffer, which the kernel does not take at once.
        assert put(make, peer, bytes(LARGE), 2 * SHORT) == (201, b"")


def test_the_wait_for_the_head_is_limited_again_once_the_body_is_sent(make: MakeTransport) -> None:
    def continues_for_ever(peer: Peer) -> None:
        peer.head()
        peer.body(MIB)
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.release.wait(PATIENCE)

    with serving(continues_for_ever) as peer, pytest.raises(TransportTimeout) as caught:
        put(make, peer, Zeros(MIB), SHORT)
    assert (caught.value.phase, caught.value.seconds) == ("read", SHORT)


@pytest.mark.parametrize("interim", [b"100 Continue\r\n", b"102 Processing\r\n", b"103 Early Hints\r\nLink: </a>\r\n"])
def test_an_interim_response_is_no_response(make: MakeTransport, interim: bytes) -> None:
    def gives_hints(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 " + interim + b"\r\n")
        # Longer than the silence allowed: what came early must not start the clock for the response.
        for _ in range(4):
            peer.release.wait(SHORT / 2)
            peer.body(LARGE // 4)
        peer.send(b"HTTP/1.1 " + interim + b"\r\n")
        peer.response(201, "Location: /final", body=b"final")

    with serving(gives_hints) as peer:
        assert put(make, peer, Zeros(LARGE), SHORT) == (201, b"final")


def responds_early(peer: Peer) -> None:
    peer.head()
    peer.body(MIB)
    peer.response(413, "Connection: close", body=b"too large")


def responds_early_and_drains(peer: Peer) -> None:
    responds_early(peer)
    peer.shut()
    peer.body(8 * MIB)


def responds_early_and_reads_on(peer: Peer) -> None:
    responds_early(peer)
    peer.body(LARGE - MIB)


@pytest.mark.parametrize("behave", [responds_early_and_drains, responds_early_and_reads_on])
def test_an_early_response_reaches_the_caller(make: MakeTransport, behave: Callable[[Peer], None]) -> None:
    with serving(behave) as peer:
        assert put(make, peer, Zeros(LARGE), PATIENCE) == (413, b"too large")


class Watched(Zeros):
    """A body that waits, after its first piece, for what the peer does."""

    def __init__(self, length: int, peer: Peer) -> None:
        super().__init__(length)
        self.peer = peer

    def __iter__(self) -> Iterator[memoryview]:
        for piece in super().__iter__():
            yield piece
            assert self.peer.responded.wait(PATIENCE)


@pytest.mark.parametrize("interim", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [307, 413])
def test_a_body_that_is_refused_is_not_sent_to_its_end(
    make: MakeTransport, certificates: Certificates, scheme: str, status: int, *, interim: bool
) -> None:
    def refuses_and_drains(peer: Peer) -> None:
        peer.head()
        if interim:
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        peer.response(status, "Location: /elsewhere", body=b"not here")
        peer.responded.set()
        peer.body(LARGE)

    tls = certificates.server_context() if scheme == "https" else None
    with serving(refuses_and_drains, tls) as peer:
        body = Watched(LARGE, peer)
        assert put(make, peer, body, PATIENCE, ca_file=certificates.ca_file) == (status, b"not here")
        assert peer.gone.wait(PATIENCE)
        assert body.given < LARGE / 2
        assert peer.received < LARGE / 2


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_body_that_is_held_is_not_begun_when_it_is_refused(
    make: MakeTransport, certificates: Certificates, scheme: str
) -> None:
    def redirects(peer: Peer) -> None:
        peer.head()
        peer.response(307, "Location: /elsewhere")
        peer.body(LARGE)

    tls = certificates.server_context() if scheme == "https" else None
    body = Zeros(LARGE)
    with serving(redirects, tls) as peer, closing(make(ca_file=certificates.ca_file)) as transport:
        request = HttpRequest("PATCH", peer.url, body=body, hold_seconds=60.0)
        with transport.open(request) as response:
            assert response.status == 307
        assert peer.gone.wait(PATIENCE)
    assert peer.received == 0


def test_a_body_is_not_held_for_ever(make: MakeTransport) -> None:
    def takes_it(peer: Peer) -> None:
        peer.head()
        peer.body(MIB)
        peer.response(202)

    with serving(takes_it) as peer, closing(make()) as transport:
        request = HttpRequest("PATCH", peer.url, body=Zeros(MIB), hold_seconds=0.05)
        with transport.open(request) as response:
            assert response.status == 202


def test_a_success_in_the_middle_of_a_body_does_not_end_it(make: MakeTransport) -> None:
    def welcomes(peer: Peer) -> None:
        peer.head()
        peer.response(201, body=b"thank you")
        peer.responded.set()
        peer.body(8 * MIB)

    with serving(welcomes) as peer:
        assert put(make, peer, Watched(8 * MIB, peer), PATIENCE) == (201, b"thank you")


def leaves_without_a_response(peer: Peer) -> None:
    peer.head()
    peer.body(MIB)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("behave", [responds_early, leaves_without_a_response])
def test_a_peer_that_just_leaves_is_its_response_or_a_lost_connection(
    make: MakeTransport, certificates: Certificates, scheme: str, behave: Callable[[Peer], None]
) -> None:
    tls = certificates.server_context() if scheme == "https" else None
    outcome: object
    with serving(behave, tls) as peer:
        try:
            outcome = put(make, peer, Zeros(LARGE), PATIENCE, ca_file=certificates.ca_file)
        except ConnectionLost as error:
            outcome = error.__cause__ is not None
    assert outcome in ([True, (413, b"too large")] if behave is responds_early else [True])


class Broken:
    """A body with a mistake."""

    def __init__(self, length: int, gives: int, error: Exception | None = None) -> None:
        self._length, self._gives, self._error = length, gives, error

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, self._gives, 65536):
            yield bytes(min(65536, self._gives - start))
        if self._error is not None:
            raise self._error


def takes_what_comes(peer: Peer) -> None:
    peer.head()
    peer.body(LARGE)


def test_a_body_that_raises_at_its_very_end_was_not_sent_whole(make: MakeTransport) -> None:
    error = ValueError("the digest is another")
    with serving(takes_what_comes) as peer:
        with pytest.raises(ValueError, match="the digest is another") as caught:
            put(make, peer, Broken(MIB, MIB, error))
        assert peer.gone.wait(PATIENCE)
        assert peer.received < MIB
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("gives", "said"), [(MIB - 1, "1048575 of the"), (MIB + 1, "more than the"), (0, "0 of the")])
def test_a_body_of_another_length_is_misuse_and_not_sent_whole(make: MakeTransport, gives: int, said: str) -> None:
    with serving(takes_what_comes) as peer:
        with pytest.raises(MachineMisuse, match=f"{said} 1048576 bytes"):
            put(make, peer, Broken(MIB, gives))
        assert peer.gone.wait(PATIENCE)
        assert peer.received < MIB
