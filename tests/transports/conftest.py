"""What the transport tests share: both adapters behind one shape, and a certificate authority made on the spot."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

from ollama_push.core.ports import Transport
from ollama_push.testing.blocking import Blocking
from ollama_push.transports import AiohttpTransport, Urllib3Transport

MakeTransport = Callable[..., Transport]


@attrs.frozen
class Certificates:
    """Files of a private authority."""

    ca: trustme.CA
    ca_file: Path
    client_file: Path

    def server_context(self, *, ask_for_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        if ask_for_client:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("ca")
    ca = trustme.CA()
    found = Certificates(ca, folder / "ca.pem", folder / "client.pem")
    ca.cert_pem.write_to_path(str(found.ca_file))
    ca.issue_cert("client@example.com").private_key_and_cert_chain_pem.write_to_path(str(found.client_file))
    return found


@pytest.fixture(params=["urllib3", "aiohttp"])
def make(request: pytest.FixtureRequest) -> MakeTransport:
    if request.param == "urllib3":
        return Urllib3Transport

    def make_blocking(**options: Any) -> Transport:
        return Blocking(lambda: AiohttpTransport(**options))

    return make_blocking
