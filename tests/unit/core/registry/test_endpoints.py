"""URLs of a repository, and where a ``Location`` leads."""

from __future__ import annotations

import pytest

from ollama_push.core.errors import PushRejected
from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import AddressProblem
from ollama_push.core.registry.endpoints import Endpoint, may_carry_secrets, origin_key

TLS = Endpoint.of("Reg.test", "a/b", plain_http=False)
PORT = Endpoint.of("reg.test:5000", "a/b", plain_http=False)
PLAIN = Endpoint.of("localhost:5000", "a/b", plain_http=True)
FAR = Endpoint.of("reg.test:5000", "a/b", plain_http=True)
NEAR = Endpoint.of("169.254.1.1:5000", "a/b", plain_http=True)
DIGEST = "sha256:ab"
ASKED = "https://reg.test/v2/a/b/blobs/uploads/"


def test_urls_of_a_repository() -> None:
    assert TLS.base == "https://reg.test/v2/"
    assert TLS.blob(DIGEST) == "https://reg.test/v2/a/b/blobs/sha256:ab"
    assert PLAIN.manifest("v1") == "http://localhost:5000/v2/a/b/manifests/v1"
    assert TLS.uploads() == ASKED
    assert TLS.uploads(mount=DIGEST, source="c/d") == f"{ASKED}?mount=sha256:ab&from=c/d"


@pytest.mark.parametrize("host", ["docker.io", "Index.docker.io"])
def test_docker_hub_is_reached_where_it_is(host: str) -> None:
    endpoint = Endpoint.of(host, plain_http=False)
    assert (endpoint.host, endpoint.origin) == (host.lower(), "https://registry-1.docker.io")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/u/1?_state=x", "https://reg.test/v2/u/1?_state=x"),
        ("1", f"{ASKED}1"),
        (" https://store.test/u#part ", "https://store.test/u"),
        ("//store.test/u", "https://store.test/u"),
        # It believes it is asked in plain HTTP: a proxy ends TLS.
        ("http://reg.test/u", "https://reg.test/u"),
        ("http://reg.test:80/u", "https://reg.test/u"),
        ("http://reg.test:443/u", "https://reg.test/u"),
        ("http://reg.test:x/u", None),
        ("https://reg.test:99999/u", None),
        ("ftp://reg.test/u", None),
        ("file:///etc/passwd", None),
        ("https:///u", "https://reg.test/u"),
        # Userinfo is no login of ours, and no library may make one of it.
        ("https://me:pw@reg.test/u", "https://reg.test/u"),
        ("https://me:pw@store.test:81/u?q=a@b", "https://store.test:81/u?q=a@b"),
        ("//me@store.test/u", "https://store.test/u"),
        ("http://me:pw@reg.test/u", "https://reg.test/u"),
        ("", None),
    ],
)
def test_where_a_location_leads(location: str, url: str | None) -> None:
    assert TLS.located({"location": location}, ASKED) == url


@pytest.mark.parametrize(
    ("endpoint", "location", "host", "problem"),
    [
        (TLS, "http://reg.test:8080/u", "reg.test", AddressProblem.PLAIN_HTTP),
        (TLS, "http://other.test/u", "other.test", AddressProblem.PLAIN_HTTP),
        (TLS, "http://me:p@w@other.test/u", "other.test", AddressProblem.PLAIN_HTTP),
        (TLS, "http://reg.test@other.test/u", "other.test", AddressProblem.PLAIN_HTTP),
        (TLS, "https://localhost/u", "localhost", AddressProblem.LOOPBACK),
        (TLS, "https://reg.test@127.1:5000/u", "127.1", AddressProblem.LOOPBACK),
        (TLS, "//2130706433/u", "2130706433", AddressProblem.LOOPBACK),
        (TLS, "https://[::ffff:127.0.0.1]/u", "::ffff:127.0.0.1", AddressProblem.LOOPBACK),
        (TLS, "https://169.254.169.254/u", "169.254.169.254", AddressProblem.LINK_LOCAL),
        (TLS, "https://[fd00:ec2::254]/u", "fd00:ec2::254", AddressProblem.METADATA),
        (TLS, "https://0/u", "0", AddressProblem.UNSPECIFIED),
        (TLS, "https://\uff11\uff12\uff17.0.0.1/u", "\uff11\uff12\uff17.0.0.1", AddressProblem.NOT_A_HOST),
        (TLS, "https://reg.test\\.evil.test/u", "reg.test\\.evil.test", AddressProblem.NOT_A_HOST),
        (FAR, "http://127.0.0.1:5000/u", "127.0.0.1", AddressProblem.LOOPBACK),
        (FAR, "http://169.254.1.1/u", "169.254.1.1", AddressProblem.LINK_LOCAL),
        (PLAIN, "http://169.254.169.254/u", "169.254.169.254", AddressProblem.LINK_LOCAL),
        (NEAR, "http://169.254.169.254/u", "169.254.169.254", AddressProblem.LINK_LOCAL),
    ],
)
def test_where_a_location_must_not_lead(endpoint: Endpoint, location: str, host: str, problem: AddressProblem) -> None:
    for header in ("location", "docker-upload-location"):
        with pytest.raises(PushRejected) as caught:
            endpoint.located({header: location}, endpoint.uploads())
        assert caught.value.facts == ForbiddenAddress(host, problem)


@pytest.mark.parametrize(
    ("endpoint", "location"),
    [
        (PLAIN, "http://127.0.0.1:5001/u"),
        (PLAIN, "http://[::1]/u"),
        (PLAIN, "http://store.test/u"),
        (FAR, "http://store.test/u"),
        (FAR, "https://10.0.0.1/u"),
        (NEAR, "http://169.254.1.1:81/u"),
        (TLS, "https://192.168.1.1:5000/u"),
    ],
)
def test_where_a_registry_may_lead(endpoint: Endpoint, location: str) -> None:
    assert endpoint.located({"location": location}, endpoint.uploads()) == location


def test_its_own_port_is_its_own_host_too() -> None:
    assert PORT.located({"location": "http://reg.test:5000/u"}, ASKED) == "https://reg.test:5000/u"


def test_in_plain_http_https_stays_what_it_is() -> None:
    assert PLAIN.located({"location": "https://localhost:5000/u"}, ASKED) == "https://localhost:5000/u"


def test_ollamas_header_comes_first() -> None:
    headers = {"docker-upload-location": "/new", "location": "/old"}
    assert TLS.located(headers, ASKED) == "https://reg.test/new"
    assert TLS.located({**headers, "docker-upload-location": ""}, ASKED) == "https://reg.test/old"
    assert TLS.located({}, ASKED) is None


@pytest.mark.parametrize("location", ["http://[", "https://[::1/u", "http://a\u2100/u"])
def test_a_location_that_is_no_url_names_none(location: str) -> None:
    assert TLS.located({"location": location}, ASKED) is None


@pytest.mark.parametrize("damage", [*map(chr, range(33)), "\x7f", "\x85", "\udce1"])
def test_a_location_with_what_no_url_holds_names_none(damage: str) -> None:
    """Found by the fault laboratory: one was kept as a resume point, and no push could use it or got past it."""
    location = f"https://reg.test/v2/u/1{damage}?_state=x"
    assert TLS.located({"location": location}, ASKED) is None
    assert TLS.signed(location, ASKED) is None
    assert not may_carry_secrets(location, plain_for=None)


@pytest.mark.parametrize("url", ["https://[", "https://a\u2100/token"])
def test_a_realm_that_is_no_url_is_not_private_enough(url: str) -> None:
    assert not may_carry_secrets(url, plain_for="a")


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://reg.test/x", True),
        ("https://REG.test:443/x", True),
        ("http://reg.test/x", False),
        ("https://reg.test:444/x", False),
        ("https://reg.test.evil.test/x", False),
        ("https://reg.test@evil.test/x", False),
    ],
)
def test_owns_its_origin_only(url: str, own: bool) -> None:  # noqa: FBT001 - a table's column
    assert TLS.owns(url) is own


@pytest.mark.parametrize(
    ("location", "finishing"),
    [("https://h/u", "https://h/u?digest=sha256:ab"), ("https://h/u?_state=x%3D", "https://h/u?_state=x%3D&digest=sha256:ab")],
)  # fmt: skip
def test_finishing_keeps_the_sessions_query(location: str, finishing: str) -> None:
    assert Endpoint.finishing(location, DIGEST) == finishing


def test_origins_are_compared_with_their_ports_filled_in() -> None:
    assert origin_key("https://h/x") == origin_key("https://H:443") != origin_key("https://h:444/")
    assert origin_key("x") == ("", "", None)


@pytest.mark.parametrize(
    ("url", "plain_for", "private"),
    [
        ("https://h/t", None, True),
        ("https:///t", "h", False),
        ("https://h:0/t", None, False),
        ("http://h/t", None, False),
        ("http://h/t", "h", True),
        ("http://H:81/t", "h", True),
        ("http://other/t", "h", False),
        ("http://127.0.0.1:1/t", None, True),
        ("http://localhost/t", None, True),
        ("http://[::1]/t", None, True),
        ("http:///t", "h", False),
        ("ftp://h/t", "h", False),
        ("/token", "h", False),
    ],
)
def test_where_secrets_may_travel(url: str, plain_for: str | None, private: bool) -> None:  # noqa: FBT001 - a table's column
    assert may_carry_secrets(url, plain_for=plain_for) is private
