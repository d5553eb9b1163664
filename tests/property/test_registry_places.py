"""Where a push goes: never anywhere but by HTTP, and never with a secret but to the registry and its realm."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.blobs import noise
from tests.support.memory_models import Model, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import HOST, response

from ollama_push.core.errors import OllamaPushError, PushRejected, TransportError
from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import host_problems
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.challenges import parse_challenges
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.endpoints import Endpoint, may_carry_secrets, origin_key
from ollama_push.core.responses import BufferedResponse

pytestmark = pytest.mark.slow

MODEL = Model.of(noise(1_100_000, 1), noise(2_000, 2))

_schemes = st.sampled_from(["http", "https", "HTTPS", "ftp", "file", "javascript", "", "ws"])
_hosts = st.sampled_from(
    [
        *("reg.test", "reg.test:5000", "REG.test:5000", "reg.test:443", "reg.test:80", "reg.test:x", "reg.test:99999"),
        *("evil.test", "reg.test.evil.test", "u:p@reg.test:5000", "reg.test:5000@evil.test", "reg.test:5000.evil.test"),
        *("[::1]", "[::1", "[", "", "a\u2100", "127.0.0.1", "127.1", "169.254.169.254", "localhost."),
    ]
)
_paths = st.sampled_from(
    ["", "/", "/v2/u/1?_state=a%20b", "/u#f", "//evil.test/u", "/../u", "?a=1", "\\evil.test", " x\x00"]
)
locations = st.one_of(
    st.builds("{}://{}{}".format, _schemes, _hosts, _paths),
    st.builds("//{}{}".format, _hosts, _paths),
    _paths,
    st.text(max_size=25),
)
endpoints = st.builds(
    Endpoint.of, st.sampled_from([HOST, "reg.test", "localhost:5000"]), st.just("a/b"), plain_http=st.booleans()
)


def located(endpoint: Endpoint, location: str) -> str | None:
    """Return where *location* leads; ``None`` also where it must not lead."""
    try:
        return endpoint.located({"location": location}, endpoint.uploads())
    except PushRejected as refused:
        if not isinstance(refused.facts, ForbiddenAddress):
            raise
        return None


@given(endpoints, locations)
def test_a_location_is_an_http_url_or_none(endpoint: Endpoint, location: str) -> None:
    url = located(endpoint, location)
    if url is not None:
        parts = urlsplit(url)
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert not parts.fragment
        assert endpoint.located({"docker-upload-location": url}, "http://elsewhere.test/") == url
        if endpoint.owns(url):
            assert url.partition(":")[0] == endpoint.origin.partition(":")[0]


@given(endpoints, locations)
def test_owning_is_having_the_same_scheme_host_and_port(endpoint: Endpoint, location: str) -> None:
    url = located(endpoint, location)
    if url is not None and endpoint.owns(url):
        parts, own = urlsplit(url), urlsplit(endpoint.origin)
        default = {"http": 80, "https": 443}
        assert (parts.hostname, parts.port or default[parts.scheme]) == (own.hostname, own.port or default[own.scheme])


@given(endpoints, locations)
def test_no_location_leads_to_a_weaker_scheme_or_to_what_only_this_machine_reaches(
    endpoint: Endpoint, location: str
) -> None:
    url = located(endpoint, location)
    if url is not None:
        there, own = urlsplit(url), urlsplit(endpoint.origin)
        assert (there.scheme, own.scheme) != ("http", "https")
        assert there.username is None
        assert there.hostname == own.hostname or not set(host_problems(there.hostname or "")) - set(
            host_problems(own.hostname or "")
        )


@given(locations, st.sampled_from([None, "reg.test"]))
def test_any_realm_is_private_enough_or_not(url: str, plain_for: str | None) -> None:
    if may_carry_secrets(url, plain_for=plain_for):
        parts = urlsplit(url)
        assert parts.scheme == "https" or parts.hostname in {"127.0.0.1", "::1", plain_for}
        assert parts.hostname


REALM = "https://auth.test/token"
SECRETS = ("pa55word", "1dentity", "acce55", "t0ken", "bWU6cGE1NXdvcmQ=")
credentials = st.sampled_from([Login("me", "pa55word"), IdentityToken("1dentity"), AccessToken("acce55")])
realms = st.just(REALM) | locations


def _holds_secret(request: HttpRequest) -> bool:
    assert isinstance(request.body, bytes)
    sent = f"{request.url} {request.headers} {request.body.decode('latin-1')}"
    return any(secret in sent for secret in SECRETS)


@given(credentials, locations, realms, st.sampled_from(["POST", "PATCH", "GET"]), st.booleans())
def test_secrets_go_to_the_registry_and_its_realm_only(
    credential: Credential,
    location: str,
    realm: str,
    method: str,
    basic: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    registry = MemoryRegistry()

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.url.startswith(f"{realm}?") or request.url == realm:
            return response(200, {}, b'{"token":"t0ken"}')
        if player.endpoint.owns(request.url) and not request.url.startswith(player.endpoint.base):
            return response(404)
        if not player.endpoint.owns(request.url):
            return response(401, {"www-authenticate": f'Basic realm="x", Bearer realm="{REALM}"'})
        if "Authorization" not in request.headers:
            return response(401, {"www-authenticate": "Basic realm=x" if basic else f'Bearer realm="{realm}"'})
        given_answer = registry(request, body)
        assert isinstance(given_answer, BufferedResponse)
        if request.method != method or "location" not in given_answer.headers:
            return given_answer
        return BufferedResponse(given_answer.status, {**given_answer.headers, "location": location}, b"")

    player = MODEL.player(peer, credentials={HOST: credential})
    with suppress(OllamaPushError, AssertionError):  # the registry in memory knows only its own URLs
        push(player, MODEL, part=500_000, concurrency=1)
    allowed = {origin_key(player.endpoint.origin)}
    with suppress(ValueError):
        # A realm may be relative (RFC 3986, 5): "//host/path" is another host all the same.
        # In a header's quotes, a backslash only escapes what follows (RFC 9110, 5.6.4).
        for challenge in parse_challenges(f'Bearer realm="{realm}"'):
            if may_carry_secrets(named := urljoin(player.endpoint.base, challenge.realm), plain_for=None):
                allowed.add(origin_key(named))
    assert {origin_key(request.url) for request in player.requests if _holds_secret(request)} <= allowed
    assert any(_holds_secret(request) for request in player.requests) or isinstance(credential, Login | IdentityToken)
