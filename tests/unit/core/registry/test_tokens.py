"""Token requests in their four forms, and what a realm's answer holds."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.scripted_flow import response

from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.challenges import Challenge
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.tokens import Token, basic, signed_realm, token_in, token_request

SCOPES = ("repository:a/b:pull,push", "repository:c/d:pull")
CHALLENGE = Challenge("bearer", {"realm": "https://auth.test/token?x=1", "service": "reg.test"})


class Key:
    """Signs by reversing."""

    public_key = "AAAAC3Nza"

    def sign(self, data: bytes) -> bytes:
        return data[::-1]


def _ask(credential: Credential | None, challenge: Challenge = CHALLENGE) -> HttpRequest:
    return token_request(
        challenge, SCOPES, credential, nonce=lambda size: b"\xfb" * size, now=lambda: 5.9, headers={"User-Agent": "x"}
    )


@pytest.mark.parametrize("credential", [None, AccessToken("t")])
def test_anybody_may_ask(credential: Credential | None) -> None:
    request = _ask(credential)
    assert (request.method, request.body, request.headers) == ("GET", b"", {"User-Agent": "x"})
    assert request.url.startswith("https://auth.test/token?x=1&")
    assert parse_qs(urlsplit(request.url).query) == {"x": ["1"], "service": ["reg.test"], "scope": [*SCOPES]}


def test_a_login_goes_as_basic() -> None:
    request = _ask(Login("m\u00e9", "p:w"))
    assert request.headers["Authorization"] == f"Basic {base64.b64encode('mé:p:w'.encode()).decode()}"
    assert parse_qs(urlsplit(request.url).query)["account"] == ["m\u00e9"]


def test_an_identity_token_goes_in_a_form() -> None:
    request = _ask(IdentityToken("r&t"))
    assert (request.method, request.url) == ("POST", "https://auth.test/token?x=1")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert isinstance(request.body, bytes)
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["ollama-push"],
        "service": ["reg.test"],
        "scope": [" ".join(SCOPES)],
        "refresh_token": ["r&t"],
    }


def test_a_key_signs_what_upstream_signs() -> None:
    request = _ask(Key(), Challenge("bearer", {"realm": "https://reg.test/v2/token", "service": "ollama"}))
    query = parse_qs(urlsplit(request.url).query)
    assert [*query] == sorted(query), "Go sorts by key, and the signature is over the text"
    assert query["ts"] == ["5"]
    assert query["nonce"] == ["-_v7-_v7-_v7-_v7-_v7-w"]
    empty = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
    signature = base64.b64encode(f"GET,{request.url},{empty}".encode()[::-1]).decode()
    assert request.headers["Authorization"] == f"AAAAC3Nza:{signature}"


def test_without_a_service_none_is_named() -> None:
    assert "service" not in _ask(None, Challenge("bearer", {"realm": "https://h/t"})).url


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"token":"a"}', Token("a", 60.0)),
        (b'{"access_token":"b","expires_in":300}', Token("b", 300.0)),
        (b'{"token":"a","access_token":"b","expires_in":0.5}', Token("a", 0.5)),
        (b'{"token":"","access_token":"b"}', Token("b", 60.0)),
        (b'{"token":5,"access_token":"b","expires_in":true}', Token("b", 60.0)),
        (b'{"token":"a","expires_in":0}', Token("a", 60.0)),
        (b'{"token":"a","expires_in":-1}', Token("a", 60.0)),
        (b'{"token":"a","expires_in":"300"}', Token("a", 60.0)),
        (b'{"token":null}', None),
        # It could not stand in a header.
        (b'{"token":"a\\r\\nX: y"}', None),
        (b"{}", None),
        (b'["token"]', None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_token_in_an_answer(body: bytes, token: Token | None) -> None:
    assert token_in(response(200, {}, body)) == token


def test_a_token_that_lives_for_ever_is_one() -> None:
    assert token_in(response(200, {}, b'{"token":"a","expires_in":1%s}' % (b"0" * 400))) is not None


def test_a_token_is_not_shown() -> None:
    assert "5ecret" not in repr(Token("5ecret", 1.0))
    assert basic(Login("a", "b")) == "Basic YTpi"


@pytest.mark.parametrize(("realm", "host", "same"), [("https://h:1/t", "h:1", True), ("https://h/t", "h:443", False)])
def test_a_signature_goes_to_the_very_same_host_and_port(realm: str, host: str, same: bool) -> None:  # noqa: FBT001 - a table's column
    assert signed_realm(realm, host) is same


@pytest.mark.parametrize("credential", [None, Login("ann", "pw"), IdentityToken("t"), Key()])
def test_a_realm_is_waited_for_as_long_as_was_said(credential: Credential | None) -> None:
    request = token_request(
        CHALLENGE, SCOPES, credential, nonce=lambda size: b"x" * size, now=lambda: 5.9, headers={}, read_timeout=7.5
    )
    assert request.read_timeout == 7.5


def test_what_the_realm_has_in_its_query_stays_there_be_it_empty() -> None:
    challenge = Challenge("bearer", {"realm": "https://auth.test/token?x=1&empty=", "service": "reg.test"})
    assert _ask(None, challenge).url.startswith("https://auth.test/token?x=1&empty=&service=reg.test&")


def test_a_nonce_goes_without_padding() -> None:
    request = token_request(CHALLENGE, SCOPES, Key(), nonce=lambda _size: b"\xfb", now=lambda: 5.9, headers={})
    assert parse_qs(urlsplit(request.url).query)["nonce"] == ["-w"]
