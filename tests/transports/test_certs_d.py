"""What docker and podman keep for one registry in certs.d holds in both adapters."""

from __future__ import annotations

import ssl
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from tests.transports.conftest import Certificates, MakeTransport

from ollama_push.core.errors import ConnectCause, ConnectFailed
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.server import ScriptedServer, json_answer
from ollama_push.transports._certificates import HostCertificates

OK = json_answer(b"{}")
PLACES = [".config/containers/certs.d", ".config/docker/certs.d"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def folder_for(home: Path, server: ScriptedServer, place: str = PLACES[0]) -> Path:
    folder = home / place / server.url.removeprefix("https://")
    folder.mkdir(parents=True)
    return folder


def fetch(make: MakeTransport, server: ScriptedServer, **options: object) -> bytes:
    request = HttpRequest("GET", server.url)
    with closing(make(**options)) as transport, transport.open(request) as response:
        return b"".join(response.chunks())


@pytest.mark.parametrize("place", PLACES)
def test_an_authority_of_one_registry_is_trusted_there(
    make: MakeTransport, certificates: Certificates, home: Path, place: str
) -> None:
    with ScriptedServer(OK, OK, tls=certificates.server_context()) as server:
        certificates.ca.cert_pem.write_to_path(str(folder_for(home, server, place) / "ca.crt"))
        assert fetch(make, server) == b"{}"
        with pytest.raises(ConnectFailed):
            fetch(make, server, trust_env=False)


def test_a_client_certificate_of_one_registry_is_shown_there(
    make: MakeTransport, certificates: Certificates, home: Path
) -> None:
    with ScriptedServer(OK, tls=certificates.server_context(ask_for_client=True)) as server:
        folder = folder_for(home, server)
        issued = certificates.ca.issue_cert("me@example.com")
        issued.cert_chain_pems[0].write_to_path(str(folder / "client.cert"))
        issued.private_key_pem.write_to_path(str(folder / "client.key"))
        assert fetch(make, server, ca_file=certificates.ca_file) == b"{}"


def test_a_file_that_cannot_be_used_is_named(make: MakeTransport, certificates: Certificates, home: Path) -> None:
    with ScriptedServer(tls=certificates.server_context()) as server:
        folder = folder_for(home, server)
        (folder / "ca.crt").write_text("no certificate")
        with pytest.raises(ConnectFailed) as caught:
            fetch(make, server)
    assert caught.value.cause is ConnectCause.TLS
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://reg.test", True),
        ("https://REG.test:443/v2/", True),
        ("https://me@reg.test", True),
        ("https://reg.test:5000", False),
        ("http://reg.test", False),
        ("https://..", False),
        ("https://a/../reg.test", False),
    ],
)
def test_the_folder_of_a_host(home: Path, url: str, found: bool) -> None:  # noqa: FBT001 - a table's column
    folder = home / PLACES[0] / "reg.test"
    folder.mkdir(parents=True)
    trustme.CA().cert_pem.write_to_path(str(folder / "ca.crt"))
    certificates = HostCertificates(None, None, search=True)
    context = certificates.context_for(url)
    assert isinstance(context, ssl.SSLContext) is found
    assert certificates.context_for(url) is context
