"""A registry that cannot be reached, or not as asked: the cause, and what to try, at once."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs
import pytest
import trustme
from tests.support.direct_push import Colour, Direct, either_colour, stored
from tests.support.socks_proxy import Asked, SocksProxy

from ollama_push.cli.exit_codes import exit_code
from ollama_push.core.errors import ConnectCause, ConnectFailed, Peer, PushRejected, RejectionReason
from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import AddressProblem
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Quirks, Reply
from ollama_push.testing.server import ScriptedServer, head

NOT_PATIENT = RetryPolicy(attempts=4, base=60.0)


@attrs.frozen
class Authority:
    """A certificate authority that nobody trusts, but for its file."""

    context: ssl.SSLContext
    ca_file: Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    ca_file = tmp_path_factory.mktemp("direct-ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    return Authority(context, ca_file)


def failure(colour: Colour, asked: Direct, cause: ConnectCause, words: str) -> None:
    told = colour(attrs.evolve(asked, retry=NOT_PATIENT))
    assert isinstance(told.error, ConnectFailed)
    assert (told.error.cause, told.error.peer, told.error.attempts) == (cause, Peer.REGISTRY, 1)
    assert words in str(told.error)
    assert exit_code(told.error) == 4
    assert "OLLAMA_HOST" not in str(told.error)


@either_colour
def test_a_certificate_nobody_knows_is_not_trusted(authority: Authority, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", tls=authority.context) as registry:
        asked = Direct(host=registry.host, home=tmp_path, plain_http=False)
        failure(colour, asked, ConnectCause.UNTRUSTED_CERTIFICATE, "ca_file=")
        assert registry.requests == []


@either_colour
@pytest.mark.parametrize(
    "said",
    [
        head(400, {"Content-Length": "46", "Connection": "close"}) + b"Client sent an HTTP request to an HTTPS server",
        head(301, {"Content-Length": "0", "Location": "https://127.0.0.1/v2/myuser/my-llama/manifests/v1"}),
    ],
    ids=["says so", "redirects"],
)
def test_plain_http_where_tls_is_spoken_is_told_as_that(said: bytes, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with ScriptedServer([said]) as registry:
        asked = Direct(host=f"127.0.0.1:{registry.port}", home=tmp_path)
        failure(colour, asked, ConnectCause.WANTS_TLS, "leave out plain_http=True")


@either_colour
@pytest.mark.parametrize("login", [None, ("me", "s3cret-of-me")], ids=["open", "login"])
def test_a_registry_behind_a_socks_proxy_is_pushed_to(
    login: tuple[str, str] | None, colour: Colour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = stored(tmp_path)
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        SocksProxy(int(registry.host.rpartition(":")[2]), login=login) as proxy,
    ):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("ALL_PROXY", proxy.url(userinfo=":".join(login or ())))
        told = colour(Direct(host="registry.example.com:5000", home=tmp_path, concurrency=4))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert set(proxy.asked) == {Asked("registry.example.com", 5000, is_name=True)}


@either_colour
def test_a_private_authority_is_trusted_when_its_file_is_given(
    authority: Authority, colour: Colour, tmp_path: Path
) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", tls=authority.context) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, plain_http=False, ca_file=authority.ca_file))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
    assert told.seen[0].push.target == registry.url


@either_colour
def test_a_registry_without_tls_must_be_asked_for(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asked = Direct(host=registry.host, home=tmp_path, plain_http=False)
        failure(colour, asked, ConnectCause.NOT_TLS, "plain_http=True")
        assert registry.requests == []


@either_colour
@pytest.mark.parametrize("port", ["", ":81"])
def test_nothing_goes_from_tls_to_plain_http(authority: Authority, colour: Colour, port: str, tmp_path: Path) -> None:
    stored(tmp_path)
    quirks = Quirks(foreign_location=f"http://store.test{port}")
    with EmbeddedRegistry(tmp_path / "registry", tls=authority.context, quirks=quirks) as registry:
        asked = Direct(host=registry.host, home=tmp_path, plain_http=False, ca_file=authority.ca_file)
        told = colour(attrs.evolve(asked, retry=NOT_PATIENT))
    assert isinstance(told.error, PushRejected)
    assert told.error.facts == ForbiddenAddress("store.test", AddressProblem.PLAIN_HTTP)
    assert "store.test, which is named with http://" in str(told.error)
    assert exit_code(told.error) == 5


@either_colour
@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("169.254.169.254", AddressProblem.LINK_LOCAL),
        ("[::ffff:a9fe:a9fe]", AddressProblem.LINK_LOCAL),
        ("100.100.100.200", AddressProblem.METADATA),
        ("0", AddressProblem.UNSPECIFIED),
        ("\N{FULLWIDTH DIGIT ONE}27.0.0.1", AddressProblem.NOT_A_HOST),
    ],
)
def test_a_registry_does_not_lead_to_what_only_this_machine_reaches(
    colour: Colour, host: str, problem: AddressProblem, tmp_path: Path
) -> None:
    stored(tmp_path)
    opened = Fault("POST", times=None, action=Reply(202, {"Location": f"http://{host}:81/u"}))
    with EmbeddedRegistry(tmp_path / "registry", faults=[opened]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, retry=NOT_PATIENT))
        assert {request.method for request in registry.requests} == {"HEAD", "POST"}
    assert isinstance(told.error, PushRejected)
    assert isinstance(told.error.facts, ForbiddenAddress)
    assert told.error.facts.problem is problem


@either_colour
def test_nobody_listens_and_nobody_waits(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as gone:
        asked = Direct(host=gone.host, home=tmp_path)
    failure(colour, asked, ConnectCause.REFUSED, f"nothing listens at http://{gone.host}")


@either_colour
def test_a_host_that_does_not_exist_is_said_to_be_unknown(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    asked = Direct(host="registry.invalid", home=tmp_path)
    failure(colour, asked, ConnectCause.UNKNOWN_HOST, "registry.invalid")


@either_colour
@pytest.mark.parametrize("realm", ["token.example", "http://[::1/token", "ftp://127.0.0.1/token", "https://"])
def test_a_realm_that_is_no_address_is_asked_nothing(realm: str, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    challenge = Reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})
    with EmbeddedRegistry(tmp_path / "registry", faults=[Fault("HEAD", times=None, action=challenge)]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, retry=NOT_PATIENT))
        assert len(registry.requests) == 1
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.REALM_MISMATCH
    assert realm in told.error.message
