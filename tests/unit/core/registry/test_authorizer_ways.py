"""A credential is asked for again, and shown in every way that the registry offers."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from tests.support.scripted_flow import HOST, ORIGIN, FlowPlayer, refuse, response, responses

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
)
from ollama_push.core.facts import LoginRefused
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.effects import FindCredential
from ollama_push.core.responses import BufferedResponse

URL = f"{ORIGIN}/v2/me/llama/blobs/uploads/"
REALM = "https://auth.test/token"
ME, RENEWED = Login("me", "pa55"), Login("me", "0ther")
BASIC, RENEWED_BASIC = "Basic bWU6cGE1NQ==", "Basic bWU6MHRoZXI="
BEARER = f'Bearer realm="{REALM}",service="reg"'
OK = response(200)
NO_CHALLENGE = response(401)


def _wants(*challenges: str) -> BufferedResponse:
    return response(401, {"www-authenticate": ", ".join(challenges)})


def _token(value: str) -> BufferedResponse:
    return response(200, {}, json.dumps({"token": value}).encode())


def _player(credential: Credential | None, *script: BufferedResponse | TransportError) -> FlowPlayer:
    return FlowPlayer(responses(*script), credentials={HOST: credential} if credential else {})


def _send(player: FlowPlayer, url: str = URL) -> BufferedResponse | TransportError:
    return player.play(player.authorizer.send(HttpRequest("POST", url, {})))


def _proofs(player: FlowPlayer) -> list[str | None]:
    return [request.headers.get("Authorization") for request in player.requests]


@pytest.mark.parametrize("dead", ["", 'Bearer error="invalid_token"', "Negotiate"])
def test_another_token_comes_from_the_realm_that_gave_the_first(dead: str) -> None:
    player = _player(ME, _wants(BEARER), _token("t1"), OK, _wants(dead), _token("t2"), OK)
    assert (_send(player), _send(player)) == (OK, OK)
    assert _proofs(player) == [None, BASIC, "Bearer t1", "Bearer t1", BASIC, "Bearer t2"]


def test_tokens_that_are_all_refused_end_it() -> None:
    player = _player(ME, _wants(BEARER), _token("t1"), OK, NO_CHALLENGE, _token("t2"), NO_CHALLENGE)
    _send(player)
    with pytest.raises(PushRejected) as caught:
        _send(player)
    assert caught.value.reason is RejectionReason.UNAUTHORIZED
    assert len(player.requests) == 6


def test_a_registry_that_always_wants_something_else_gets_no_more_than_a_few_tokens() -> None:
    asks = [_wants(f'{BEARER},scope="scope{number}"') for number in range(9)]
    script = [each for number, ask in enumerate(asks) for each in (ask, _token(f"t{number}"))]
    player = _player(ME, *script)
    with pytest.raises(PushRejected, match="has no right to this"):
        _send(player)
    assert len(player.requests) == 9


@pytest.mark.parametrize("credential", [ME, AccessToken("t0")])
def test_a_login_that_was_good_is_told_apart_from_one_that_never_was(credential: Credential) -> None:
    player = _player(credential, _wants('Basic realm="r"'), NO_CHALLENGE)
    with pytest.raises(PushRejected):
        _send(player)
    assert len(player.of(FindCredential)) == 1


def test_a_login_that_runs_out_is_looked_up_again() -> None:
    player = _player(ME, _wants("Basic realm=r"), OK, NO_CHALLENGE, OK)
    assert _send(player) is OK
    player.credentials[HOST] = RENEWED
    assert _send(player) is OK
    assert _proofs(player) == [None, BASIC, BASIC, RENEWED_BASIC]


def test_a_login_that_runs_out_at_the_realm_is_looked_up_again() -> None:
    player = _player(ME, _wants(BEARER), _token("t1"), OK, NO_CHALLENGE, response(401), _token("t2"), OK)
    assert _send(player) is OK
    player.credentials[HOST] = RENEWED
    assert _send(player) is OK
    assert _proofs(player)[3:] == ["Bearer t1", BASIC, RENEWED_BASIC, "Bearer t2"]


def test_a_login_that_runs_out_for_good_is_refused() -> None:
    player = _player(ME, _wants("Basic realm=r"), OK, NO_CHALLENGE)
    _send(player)
    with pytest.raises(PushRejected, match="does not accept the login of 'me'"):
        _send(player)
    assert len(player.of(FindCredential)) == 2


def test_a_registry_that_does_not_say_what_it_wants_is_asked_at_its_root() -> None:
    player = _player(ME, NO_CHALLENGE, _wants("Basic realm=r"), OK)
    assert _send(player) is OK
    assert player.asked[1] == "GET /v2/"
    assert _proofs(player) == [None, None, BASIC]


@pytest.mark.parametrize("root", [OK, NO_CHALLENGE, ConnectionLost(ORIGIN)], ids=str)
def test_a_registry_that_never_says_what_it_wants_gets_nothing(root: BufferedResponse | TransportError) -> None:
    player = _player(ME, NO_CHALLENGE, root)
    with pytest.raises(PushRejected, match="does not accept"):
        _send(player)
    assert _proofs(player) == [None, None]


@pytest.mark.parametrize(
    "dead", [ConnectionLost(REALM), response(404), response(503), response(200, {}, b"<html>"), refuse(401, "DENIED")]
)
def test_basic_is_shown_where_the_realm_beside_it_is_dead(dead: BufferedResponse | TransportError) -> None:
    player = _player(ME, _wants(BEARER, "Basic realm=r"), dead, OK)
    assert _send(player) is OK
    assert _proofs(player) == [None, BASIC, BASIC]


@pytest.mark.parametrize("realm", ["http://auth.test/t", "nothing", "https://["])
def test_basic_is_shown_where_the_realm_beside_it_is_odd(realm: str) -> None:
    player = _player(ME, _wants(f'Bearer realm="{realm}"', "Basic realm=r"), OK)
    assert _send(player) is OK
    assert _proofs(player) == [None, BASIC]


def test_basic_is_shown_where_the_token_is_not_accepted() -> None:
    both = _wants(BEARER, "Basic realm=r")
    player = _player(ME, both, _token("t1"), both, OK)
    assert _send(player) is OK
    assert _proofs(player) == [None, BASIC, "Bearer t1", BASIC]


def test_what_the_realm_said_counts_where_basic_is_refused_too() -> None:
    both = _wants(BEARER, "Basic realm=r")
    with pytest.raises(ServerError, match="HTTP 503"):
        _send(_player(ME, both, response(503), both))


def test_a_second_realm_is_asked_where_the_first_is_dead() -> None:
    player = _player(ME, _wants(BEARER, 'Bearer realm="https://b.test/t"'), response(404), _token("t"), OK)
    assert _send(player) is OK
    assert player.requests[2].url.startswith("https://b.test/t?")


def test_the_scope_of_the_challenge_is_asked_for_beside_ours() -> None:
    read, write = (f'{BEARER},scope="repository:own/name:{actions}"' for actions in ("pull", "pull,push"))
    player = _player(ME, _wants(read), _token("t1"), OK, _wants(write), _token("t2"), OK)
    assert (_send(player), _send(player)) == (OK, OK)
    ours = "scope=repository%3Ame%2Fllama%3Apull%2Cpush"
    assert f"{ours}&scope=repository%3Aown%2Fname%3Apull&" in player.requests[1].url
    assert f"{ours}&scope=repository%3Aown%2Fname%3Apull%2Cpush&" in player.requests[4].url


@pytest.mark.parametrize(
    ("realm", "url"),
    [
        ("/token", f"{ORIGIN}/token?"),
        ("//auth.test/t", "https://auth.test/t?"),
        (f"http://{HOST}/t", f"{ORIGIN}/t?"),
        (f"http://{HOST.partition(':')[0]}/t", f"{ORIGIN}/t?"),
    ],
)
def test_a_realm_is_asked_the_way_the_registry_is(realm: str, url: str) -> None:
    player = _player(ME, _wants(f'Bearer realm="{realm}"'), _token("t"), OK)
    assert _send(player) is OK
    assert player.requests[1].url.startswith(url)


# --- redirects


def _redirect(url: str, status: int = 307) -> BufferedResponse:
    return response(status, {"location": url})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_origin_is_followed_with_the_login(status: int) -> None:
    player = _player(ME, _wants("Basic realm=r"), OK, _redirect("/there?x=1", status), OK)
    there = attrs.evolve(OK, redirects=((status, f"{ORIGIN}/there?x=1"),))
    assert (_send(player), _send(player)) == (OK, there)
    assert player.asked[-1] == "POST /there?x=1"
    assert _proofs(player)[-1] == BASIC


def test_a_login_stays_here_when_a_redirect_leads_elsewhere() -> None:
    player = _player(ME, _wants("Basic realm=r"), _redirect("https://store.test/u"), OK)
    assert _send(player) == attrs.evolve(OK, redirects=((307, "https://store.test/u"),))
    assert player.requests[-1].url == "https://store.test/u"
    assert _proofs(player) == [None, BASIC, None]


def test_what_a_store_asks_for_is_not_shown() -> None:
    player = _player(ME, _wants("Basic realm=r"), _redirect("https://store.test/u"), _wants("Basic realm=r"))
    response = _send(player)
    assert isinstance(response, BufferedResponse)
    assert response.status == 401
    assert _proofs(player) == [None, BASIC, None]


def test_a_location_is_relative_to_where_it_was_said() -> None:
    player = _player(ME, _redirect("https://store.test/a/b"), response(202, {"location": "c"}))
    response_ = _send(player)
    assert isinstance(response_, BufferedResponse)
    assert response_.headers["location"] == "https://store.test/a/c"


def test_redirects_in_a_circle_end() -> None:
    player = _player(ME, *[_redirect("/round")] * 6)
    response_ = _send(player)
    assert isinstance(response_, BufferedResponse)
    assert response_.status == 307


@pytest.mark.parametrize("url", ["http://store.test/u", "http://auth.test/u", "https://127.0.0.1/u"])
def test_a_redirect_leads_to_nothing_weaker_and_nothing_near(url: str) -> None:
    player = _player(ME, _redirect(url))
    with pytest.raises(PushRejected, match="nothing was sent there"):
        _send(player)
    assert len(player.requests) == 1


def test_a_redirect_of_the_realm_leads_to_nothing_weaker() -> None:
    registry = "http://127.0.0.1:5000"
    script = responses(_wants(BEARER), _redirect("http://auth.test/t"))
    player = FlowPlayer(script, credentials={"127.0.0.1:5000": ME}, host="127.0.0.1:5000", plain_http=True)
    with pytest.raises(PushRejected, match="nothing was sent there"):
        _send(player, f"{registry}/v2/")


@pytest.mark.parametrize(
    ("method", "url", "location"),
    [
        ("HEAD", URL, "https://store.test/b"),  # where it leads says that it is there
        ("POST", URL, ""),
        ("POST", URL, "ftp://store.test/u"),
        ("POST", f"http://{HOST}/v2/", f"https://{HOST}/u"),  # the login would never be shown there
    ],
)
def test_a_redirect_that_is_not_followed_is_the_response(method: str, url: str, location: str) -> None:
    player = _player(ME, _redirect(location))
    response_ = player.play(player.authorizer.send(HttpRequest(method, url, {})))
    assert isinstance(response_, BufferedResponse)
    assert response_.status == 307


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST"])
def test_a_registry_that_redirects_to_tls_wants_to_be_asked_by_it(method: str) -> None:
    player = _player(ME, _redirect(f"https://{HOST}/v2/x?y=1"))
    with pytest.raises(ConnectFailed) as caught:
        player.play(player.authorizer.send(HttpRequest(method, f"http://{HOST}/v2/x?y=1", {})))
    assert caught.value.cause is ConnectCause.WANTS_TLS
    assert caught.value.detail == f"it redirects to https://{HOST}"


@pytest.mark.parametrize(("method", "requests"), [("GET", 2), ("POST", 1)])
def test_another_place_to_look_is_for_questions(method: str, requests: int) -> None:
    player = _player(ME, _redirect("/other", 303), OK)
    player.play(player.authorizer.send(HttpRequest(method, URL, {})))
    assert len(player.requests) == requests


def test_a_refresh_token_goes_to_its_realm_only() -> None:
    player = _player(IdentityToken("r3fresh"), _wants(BEARER), _redirect("https://else.test/t"))
    with pytest.raises(PushRejected, match="HTTP 307"):
        _send(player)
    assert all("else.test" not in request.url for request in player.requests)


MOUNT = "repository:me/base:pull"


def _mounting(*script: BufferedResponse | TransportError) -> FlowPlayer:
    return FlowPlayer(responses(*script), credentials={HOST: ME}, optional_scopes=(MOUNT,))


def _scopes_asked(player: FlowPlayer) -> list[list[str]]:
    asked = [parse_qs(urlsplit(url).query) for url in (request.url for request in player.requests) if REALM in url]
    return [query["scope"] for query in asked]


def test_what_is_wanted_for_mounts_is_asked_for_with_the_first_token() -> None:
    player = _mounting(_wants(BEARER), _token("t1"), OK)
    assert _send(player) is OK
    assert _scopes_asked(player) == [["repository:me/llama:pull,push", MOUNT]]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_realm_that_gives_no_token_for_a_mount_is_asked_without_it_from_then_on(status: int) -> None:
    player = _mounting(_wants(BEARER), response(status), _token("t1"), OK, _wants(BEARER), _token("t2"), OK)
    assert (_send(player), _send(player)) == (OK, OK)
    own = ["repository:me/llama:pull,push"]
    assert _scopes_asked(player) == [[*own, MOUNT], own, own]


def test_a_realm_that_refuses_mounts_when_a_token_is_renewed_is_asked_without_them() -> None:
    player = _mounting(_wants(BEARER), _token("t1"), OK, _wants(BEARER), response(403), _token("t2"), OK)
    assert (_send(player), _send(player)) == (OK, OK)
    own = ["repository:me/llama:pull,push"]
    assert _scopes_asked(player) == [[*own, MOUNT], [*own, MOUNT], own]


def test_a_login_that_is_refused_without_mounts_too_is_refused() -> None:
    player = _mounting(_wants(BEARER), response(401), response(401))
    with pytest.raises(PushRejected) as caught:
        _send(player)
    assert caught.value.reason is RejectionReason.UNAUTHORIZED


def _problem(player: FlowPlayer) -> LoginRefused:
    with pytest.raises(PushRejected) as caught:
        _send(player)
    assert caught.value.reason is RejectionReason.UNAUTHORIZED
    assert isinstance(caught.value.facts, LoginRefused)
    return caught.value.facts


@pytest.mark.parametrize("credential", [ME, IdentityToken("id")], ids=["login", "token"])
def test_a_right_that_is_missing_is_no_wrong_login(credential: Credential) -> None:
    facts = _problem(_player(credential, _wants(BEARER), _token("t1"), _wants(BEARER)))
    assert facts.is_known
    assert facts.advice is None


def test_a_login_that_the_realm_refuses_is_not_known() -> None:
    assert not _problem(_player(ME, _wants(BEARER), response(401))).is_known
    player = _player(ME, _wants(BEARER), _token("t1"), OK, _wants(BEARER), response(401))
    _send(player)
    assert not _problem(player).is_known, "a password may have been changed meanwhile"


@pytest.mark.parametrize("credential", [None, AccessToken("a")], ids=["nobody", "access token"])
def test_what_no_realm_has_seen_is_not_known(credential: Credential | None) -> None:
    script = [_wants(BEARER), _token("t1"), _wants(BEARER)] if credential is None else [_wants(BEARER)] * 2
    assert not _problem(_player(credential, *script)).is_known


def test_basic_says_nothing_of_rights() -> None:
    assert not _problem(_player(ME, _wants("Basic"), _wants("Basic"))).is_known


TAKEN_BACK = f'{BEARER},error="invalid_token"'


def test_a_token_that_is_taken_back_before_its_first_use_is_asked_for_again() -> None:
    """Of flows side by side, each may meet another end of a token; replicas of a registry may know one later."""
    player = _player(
        ME, _wants(BEARER), _token("t1"), OK, _wants(TAKEN_BACK), _token("t2"), _wants(TAKEN_BACK), _token("t3"), OK
    )
    assert (_send(player), _send(player)) == (OK, OK)
    assert _proofs(player)[-3:] == ["Bearer t2", BASIC, "Bearer t3"]


def test_a_registry_that_takes_every_token_back_is_believed_after_a_few() -> None:
    again = [answer for number in range(2, 6) for answer in (_token(f"t{number}"), _wants(TAKEN_BACK))]
    player = _player(ME, _wants(BEARER), _token("t1"), OK, _wants(TAKEN_BACK), *again)
    assert _send(player) == OK
    with pytest.raises(PushRejected) as caught:
        _send(player)
    assert caught.value.reason is RejectionReason.UNAUTHORIZED
    assert len(player.requests) == 3 + 9


@pytest.mark.parametrize("error", ["insufficient_scope", ""])
def test_a_token_that_is_refused_for_what_it_allows_is_asked_for_once(error: str) -> None:
    refused = _wants(f'{BEARER},error="{error}"')
    player = _player(ME, _wants(BEARER), _token("t1"), OK, refused, _token("t2"), refused)
    assert _send(player) == OK
    with pytest.raises(PushRejected):
        _send(player)
    assert len(player.requests) == 6


def test_a_token_is_not_asked_for_again_where_none_was_ever_accepted() -> None:
    player = _player(ME, _wants(BEARER), _token("t1"), _wants(TAKEN_BACK))
    with pytest.raises(PushRejected):
        _send(player)
    assert len(player.requests) == 3
