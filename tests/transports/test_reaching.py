"""Why a peer was not reached: every cause is told apart, names the address and what to try, in both adapters."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.transports.conftest import Certificates, MakeTransport

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidSetting,
    TransportError,
    TransportTimeout,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.server import Hangup, Reset, Script, ScriptedServer, json_answer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

OK: Script = json_answer(b'{"version":"1"}')


def fetch(make: MakeTransport, url: str, **options: object) -> bytes:
    with closing(make(**options)) as transport, transport.open(HttpRequest("GET", url)) as response:
        return b"".join(response.chunks())


def failure(make: MakeTransport, url: str, **options: object) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        fetch(make, url, **options)
    assert caught.value.__cause__ is not None
    return caught.value


@contextmanager
def refusing_port() -> Iterator[int]:
    """Yield a port that is bound but not listened on: nobody else can take it, and connecting is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_refused_connection_says_how_to_start_a_server(make: MakeTransport) -> None:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}"
        error = failure(make, f"{url}/api/version")
    assert (error.cause, error.address) == (ConnectCause.REFUSED, url)
    assert f"nothing listens at {url}; start the Ollama server, or point OLLAMA_HOST" in str(error)


def test_localhost_refused_on_every_address_is_refused(make: MakeTransport) -> None:
    with refusing_port() as port:
        assert failure(make, f"http://localhost:{port}/").cause is ConnectCause.REFUSED


def test_an_unknown_host_is_named(make: MakeTransport) -> None:
    error = failure(make, "http://no-such-host.invalid:11434/")
    assert error.cause is ConnectCause.UNKNOWN_HOST
    assert "the host of http://no-such-host.invalid:11434 is unknown" in str(error)


def test_https_to_an_http_port_says_use_http(make: MakeTransport) -> None:
    error = tls_failure_against_plain_text(make)
    assert error.cause is ConnectCause.NOT_TLS
    assert "does not speak TLS; use http:// instead of https://" in str(error)


def tls_failure_against_plain_text(make: MakeTransport) -> ConnectFailed:
    """Connect with TLS to a socket that responds to the first bytes in plain HTTP, as Go's server does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def respond() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")

        thread = threading.Thread(target=respond)
        thread.start()
        try:
            return failure(make, f"https://127.0.0.1:{listener.getsockname()[1]}/")
        finally:
            thread.join()


def test_an_untrusted_certificate_names_the_option(make: MakeTransport, certificates: Certificates) -> None:
    with ScriptedServer(OK, tls=certificates.server_context()) as server:
        error = failure(make, server.url)
    assert error.cause is ConnectCause.UNTRUSTED_CERTIFICATE
    assert "pass the CA that signed it" in str(error)


def test_a_certificate_that_has_expired_is_told_apart(make: MakeTransport, certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificates.ca.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    with ScriptedServer(OK, tls=context) as server:
        error = failure(make, server.url, ca_file=certificates.ca_file)
    assert error.cause is ConnectCause.EXPIRED_CERTIFICATE
    assert "it must be renewed there" in str(error)


@pytest.mark.parametrize("name", ["other.example", "127.0.0.2"])
def test_a_certificate_of_another_host_is_told_apart(
    make: MakeTransport, certificates: Certificates, name: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.ca.issue_cert(name).configure_cert(context)
    with ScriptedServer(OK, tls=context) as server:
        error = failure(make, server.url, ca_file=certificates.ca_file)
    assert error.cause is ConnectCause.CERTIFICATE_OF_ANOTHER_HOST
    assert "use a name that the certificate is for" in str(error)


def test_a_custom_ca_is_trusted(make: MakeTransport, certificates: Certificates) -> None:
    with ScriptedServer(OK, tls=certificates.server_context()) as server:
        assert fetch(make, server.url, ca_file=certificates.ca_file) == b'{"version":"1"}'


def test_a_client_certificate_is_shown(make: MakeTransport, certificates: Certificates) -> None:
    with ScriptedServer(OK, tls=certificates.server_context(ask_for_client=True)) as server:
        options = {"ca_file": certificates.ca_file, "client_cert": certificates.client_file}
        assert fetch(make, server.url, **options) == b'{"version":"1"}'


def test_a_missing_client_certificate_is_a_transport_error(make: MakeTransport, certificates: Certificates) -> None:
    with (
        ScriptedServer(OK, tls=certificates.server_context(ask_for_client=True)) as server,
        pytest.raises(TransportError),
    ):
        fetch(make, server.url, ca_file=certificates.ca_file)


@pytest.mark.parametrize("kind", [Urllib3Transport, AiohttpTransport])
@pytest.mark.parametrize("option", ["ca_file", "client_cert"])
def test_unusable_files_are_refused_at_once(
    kind: type[Urllib3Transport | AiohttpTransport], option: str, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no PEM")
    for path in (tmp_path / "absent.pem", empty):
        with pytest.raises(InvalidSetting) as caught:
            kind(**{option: path})  # type: ignore[arg-type]  # the option is a parameter
        assert str(path) in str(caught.value.value)


@pytest.mark.parametrize("port", [65536, 99999])
def test_a_port_out_of_range_is_an_unknown_host(make: MakeTransport, port: int) -> None:
    error = failure(make, f"http://127.0.0.1:{port}/x")
    assert (error.cause, error.address) == (ConnectCause.UNKNOWN_HOST, f"http://127.0.0.1:{port}")


def test_a_peer_that_leaves_without_a_response_is_told_in_words() -> None:
    with ScriptedServer([Hangup()]) as server, pytest.raises(ConnectionLost) as caught:
        fetch(Urllib3Transport, server.url)
    assert caught.value.detail == "remote end closed connection without response"


def test_a_connection_that_is_reset_is_told_in_words() -> None:
    with ScriptedServer([Reset()]) as server, pytest.raises(ConnectionLost) as caught:
        fetch(Urllib3Transport, server.url)
    assert caught.value.detail == "connection reset by peer"


def test_a_peer_that_is_silent_in_its_handshake_was_not_reached_in_time(make: MakeTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TransportTimeout) as caught:
        fetch(make, f"https://127.0.0.1:{silent.getsockname()[1]}/", connect_timeout=0.3)
    assert (caught.value.phase, caught.value.seconds) == ("connect", 0.3)
