"""The scripted server does what the script says, and tells what it saw."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

from ollama_push.testing.server import (
    Await,
    Hangup,
    Hold,
    NextRequest,
    Pause,
    ReceivedRequest,
    Reset,
    ScriptedServer,
    chunk,
)

_SOON = 5.0
_GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def _connected(server: ScriptedServer, request: bytes = _GET) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), _SOON) as peer:
        peer.sendall(request)
        yield peer


def _read_all(peer: socket.socket) -> bytes:
    return b"".join(iter(lambda: peer.recv(65536), b""))


def _answer(server: ScriptedServer, request: bytes = _GET) -> bytes:
    with _connected(server, request) as peer:
        return _read_all(peer)


def test_bytes_arrive_as_they_are_and_the_end_hangs_up() -> None:
    with ScriptedServer([b"not ", b"HTTP\x00\xff"]) as server:
        assert _answer(server) == b"not HTTP\x00\xff"


def test_each_connection_gets_its_script_and_the_last_one_repeats() -> None:
    with ScriptedServer([b"1"], [b"2"]) as server:
        assert [_answer(server) for _ in range(3)] == [b"1", b"2", b"2"]
        assert server.accepted == 3


def test_an_answer_to_a_target_is_played_whenever_asked_for_and_uses_up_no_script() -> None:
    with ScriptedServer([b"1"], [b"2"], answers={"/b": [b"b"]}) as server:
        other = _GET.replace(b"/a?b=c", b"/b")
        assert [_answer(server, request) for request in (other, _GET, other, _GET)] == [b"b", b"1", b"b", b"2"]


def test_requests_are_recorded_with_body_and_joined_headers() -> None:
    with ScriptedServer() as server:
        _answer(server, b"PUT /x HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc")
        assert server.requests == [ReceivedRequest("PUT", "/x", {"x-a": "1, 2", "content-length": "3"}, b"abc")]


def test_a_chunked_request_body_is_decoded() -> None:
    body = chunk(b"abc") + b"2;ext=1\r\nde\r\n" + chunk(b"")
    with ScriptedServer() as server:
        _answer(server, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert [request.body for request in server.requests] == [b"abcde"]


@pytest.mark.parametrize("request_bytes", [b"", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_request_that_never_becomes_whole_gets_no_answer_and_no_record(request_bytes: bytes) -> None:
    with ScriptedServer([b"answer"]) as server:
        with _connected(server, request_bytes) as peer:
            peer.shutdown(socket.SHUT_WR)
            assert _read_all(peer) == b""
        assert server.requests == []
        assert not server.peer_closed.is_set()


def test_a_hold_sees_the_peer_leave() -> None:
    with ScriptedServer([b"first", Hold()]) as server:
        with _connected(server) as peer:
            assert peer.recv(5) == b"first"
            assert not server.peer_closed.is_set()
        assert server.peer_closed.wait(_SOON)


def test_a_hold_with_a_limit_goes_on_after_it() -> None:
    with ScriptedServer([Hold(0.01), b"late"]) as server:
        assert _answer(server) == b"late"
        assert not server.peer_closed.is_set()


def test_sending_to_a_peer_that_left_counts_as_its_leaving() -> None:
    with ScriptedServer([bytes(65536)] * 1000) as server:
        with _connected(server):
            pass
        assert server.peer_closed.wait(_SOON)


def test_a_script_waits_for_the_event_it_awaits() -> None:
    seen = threading.Event()
    with ScriptedServer([b"first", Await(seen), b"second"]) as server, _connected(server) as peer:
        assert peer.recv(100) == b"first"
        seen.set()
        assert _read_all(peer) == b"second"


def test_an_await_with_a_limit_goes_on_after_it() -> None:
    with ScriptedServer([Await(threading.Event(), 0.01), b"late"]) as server:
        assert _answer(server) == b"late"


def test_a_pause_ends() -> None:
    with ScriptedServer([Pause(0.01), b"late"]) as server:
        assert _answer(server) == b"late"


def test_a_reset_is_one() -> None:
    with ScriptedServer([Reset()]) as server, _connected(server) as peer, pytest.raises(ConnectionResetError):
        peer.recv(1)


def test_a_hangup_is_an_orderly_end() -> None:
    with ScriptedServer([b"x", Hangup()]) as server:
        assert _answer(server) == b"x"


def test_one_connection_can_serve_several_requests() -> None:
    with ScriptedServer([b"1", NextRequest(), b"2", NextRequest(), b"3"]) as server:
        with _connected(server) as peer:
            assert peer.recv(1) == b"1"
            peer.sendall(_GET)
            assert peer.recv(1) == b"2"
        assert server.wait_for_open(0, _SOON)
        assert len(server.requests) == 2
        assert server.accepted == 1


def test_open_connections_are_counted_and_can_be_waited_for() -> None:
    with ScriptedServer([b"x", Hold()]) as server:
        with _connected(server) as one, _connected(server) as two:
            assert one.recv(1) + two.recv(1) == b"xx"
            assert server.open_connections == 2
            assert not server.wait_for_open(1, 0.01)
        assert server.wait_for_open(0, _SOON)


@pytest.mark.parametrize("step", [Hold(), Pause(600), Await(threading.Event())], ids=["hold", "pause", "await"])
def test_closing_ends_every_script_and_connection(step: Hold | Pause | Await) -> None:
    server = ScriptedServer([b"x", step, b"never"])
    with _connected(server) as peer:
        assert peer.recv(1) == b"x"
        server.close()
        assert server.open_connections == 0
        assert not server.peer_closed.is_set()
        assert _read_all(peer) == b""


def test_closing_does_not_wait_for_a_peer_that_never_asks() -> None:
    server = ScriptedServer([Hold()])
    with socket.create_connection(("127.0.0.1", server.port), _SOON):
        server.close()
        server.close()


def test_it_speaks_tls_when_told_to() -> None:
    authority = trustme.CA()
    served, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(trusted)
    with ScriptedServer([b"secret"], tls=served) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        with (
            socket.create_connection(("127.0.0.1", server.port), _SOON) as bare,
            trusted.wrap_socket(bare, server_hostname="127.0.0.1", suppress_ragged_eofs=True) as peer,
        ):
            peer.sendall(_GET)
            assert _read_all(peer) == b"secret"


def test_a_handshake_that_fails_counts_as_the_peers_leaving() -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(served)
    with ScriptedServer([b"secret"], tls=served) as server:
        with contextlib.suppress(ConnectionResetError):  # what became of the peer's bytes is up to the kernel
            assert b"secret" not in _answer(server, b"no TLS at all\r\n\r\n")
        assert server.peer_closed.wait(_SOON)
