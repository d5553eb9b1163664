"""Who we are to a registry: which proof goes where, when it is renewed, and what is said when it does not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.scripted_flow import HOST, ORIGIN, FlowPlayer, refuse, response, responses

from ollama_push.core.errors import (
    ConnectionLost,
    OllamaPushError,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
)
from ollama_push.core.facts import ForbiddenAddress, RealmRefused
from ollama_push.core.hosts import AddressProblem
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.effects import Exclusive, FindCredential, Flow, Gather, ReportRetry, result_of
from ollama_push.core.responses import BufferedResponse

_TABLES: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "data" / "cases" / "names.json").read_text("utf-8")
)["tables"]

URL = f"{ORIGIN}/v2/"
REALM = "https://auth.test/token"
ME = Login("me", "pa55")
BASIC = "Basic bWU6cGE1NQ=="
WANTS_BASIC = response(401, {"www-authenticate": 'Basic realm="x"'})
WANTS_TOKEN = response(401, {"www-authenticate": f'Basic realm=x, Bearer realm="{REALM}",service="reg",scope="a b"'})
WANTS_TOKEN_ONLY = response(401, {"www-authenticate": f'Bearer realm="{REALM}",service="reg",scope="a b"'})
OK = response(200)
LOST = ConnectionLost(ORIGIN)


class Key:
    """A key pair."""

    public_key = "AAAAKEY"

    def sign(self, data: bytes) -> bytes:
        return data[:3]


def token(value: str, **more: Any) -> BufferedResponse:
    """Return a realm's answer."""
    return response(200, {}, json.dumps({"token": value, **more}).encode())


def _player(credential: Credential | None, *script: BufferedResponse | TransportError, **more: Any) -> FlowPlayer:
    return FlowPlayer(responses(*script), credentials={HOST: credential} if credential else {}, **more)


def _send(player: FlowPlayer, url: str = URL) -> BufferedResponse | TransportError:
    return player.play(player.authorizer.send(HttpRequest("GET", url, {"Accept": "x"})))


def _proofs(player: FlowPlayer) -> list[str | None]:
    return [request.headers.get("Authorization") for request in player.requests]


def _refused(player: FlowPlayer, url: str = URL) -> PushRejected:
    with pytest.raises(PushRejected) as caught:
        _send(player, url)
    assert "pa55" not in str(caught.value) + repr(caught.value)
    return caught.value


def test_nobody_is_told_who_we_are_without_asking() -> None:
    player = _player(ME, OK)
    assert _send(player) is OK
    assert _proofs(player) == [None]
    assert player.of(FindCredential) == []
    assert not player.authorizer.asked


def test_a_login_goes_as_basic_and_stays() -> None:
    player = _player(ME, WANTS_BASIC, OK, OK)
    assert (_send(player), _send(player)) == (OK, OK)
    assert _proofs(player) == [None, BASIC, BASIC]
    assert player.of(FindCredential) == [FindCredential(HOST, "me/llama")]
    assert player.requests[1].headers["Accept"] == "x"
    assert player.authorizer.asked


def test_a_login_that_is_not_accepted_is_named() -> None:
    error = _refused(_player(ME, WANTS_BASIC, refuse(401, "UNAUTHORIZED", "wrong")))
    assert error.message == f"{HOST} does not accept the login of 'me' for me/llama (UNAUTHORIZED: wrong)"
    assert error.reason is RejectionReason.UNAUTHORIZED


def test_a_login_that_was_good_for_a_while_is_not_shown_twice() -> None:
    player = _player(ME, WANTS_BASIC, OK, WANTS_BASIC)
    _send(player)
    assert "does not accept the login of 'me'" in _refused(player).message
    assert len(player.requests) == 3


def test_a_login_to_the_registry_as_such_names_no_repository() -> None:
    player = _player(ME, WANTS_BASIC, WANTS_BASIC, repository="")
    assert _refused(player).message == f"{HOST} does not accept the login of 'me'"


@pytest.mark.parametrize("credential", [None, IdentityToken("t"), Key()])
def test_basic_needs_a_login(credential: Credential | None) -> None:
    player = _player(credential, WANTS_BASIC)
    assert _refused(player).reason is RejectionReason.UNAUTHORIZED
    assert len(player.requests) == 1


def test_without_a_login_it_is_said_how_to_get_one() -> None:
    message = _refused(_player(None, WANTS_BASIC)).message
    assert "pass credentials=, or set OLLAMA_USERNAME" in message
    assert "OLLAMA_USERNAME" in message


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Bearer service="x"'])
def test_a_challenge_nobody_can_meet_is_a_no(challenge: str) -> None:
    assert "does not accept the login" in _refused(_player(ME, response(401, {"www-authenticate": challenge}))).message


def test_an_access_token_is_shown_as_it_is() -> None:
    player = _player(AccessToken("t0"), WANTS_TOKEN, OK)
    assert _send(player) is OK
    assert _proofs(player) == [None, "Bearer t0"]


def test_an_access_token_that_is_not_accepted_cannot_be_renewed() -> None:
    player = _player(AccessToken("t0"), WANTS_TOKEN, OK, WANTS_TOKEN)
    _send(player)
    assert "does not accept the stored token; log in again" in _refused(player).message
    assert _proofs(player) == [None, "Bearer t0", "Bearer t0"]


def test_a_token_is_fetched_and_stays() -> None:
    player = _player(ME, WANTS_TOKEN, token("t1"), OK, OK)
    assert (_send(player), _send(player)) == (OK, OK)
    assert _proofs(player) == [None, BASIC, "Bearer t1", "Bearer t1"]
    assert player.requests[1].url.startswith(f"{REALM}?service=reg&scope=repository%3Ame%2Fllama%3Apull%2Cpush")


def test_nobody_gets_a_token_too() -> None:
    player = _player(None, WANTS_TOKEN, token("t1"), OK)
    assert _send(player) is OK
    assert _proofs(player) == [None, None, "Bearer t1"]


def test_without_scopes_of_ours_the_registrys_are_asked_for() -> None:
    player = _player(ME, WANTS_TOKEN, token("t1"), OK, scopes=())
    _send(player)
    assert "&scope=a&scope=b&" in player.requests[1].url


def test_a_token_is_renewed_before_it_runs_out() -> None:
    player = _player(ME, WANTS_TOKEN, token("t1", expires_in=100), OK, OK, token("t2"), OK)
    _send(player)
    player.clock.now += 89.0
    _send(player)
    player.clock.now += 1.0
    _send(player)
    assert _proofs(player) == [None, BASIC, "Bearer t1", "Bearer t1", BASIC, "Bearer t2"]


@pytest.mark.parametrize("credential", [ME, None])
def test_a_token_that_ran_out_early_is_fetched_anew(credential: Login | None) -> None:
    player = _player(credential, WANTS_TOKEN, token("t1"), OK, WANTS_TOKEN, token("t2"), OK)
    _send(player)
    assert _send(player) is OK
    assert _proofs(player)[-1] == "Bearer t2"


def test_a_new_token_that_does_not_do_either_is_a_no() -> None:
    player = _player(None, WANTS_TOKEN, token("t1"), refuse(401, "DENIED", "not yours"))
    assert _refused(player).message.endswith("(DENIED: not yours)")


def test_flows_side_by_side_share_one_token() -> None:
    player = _player(ME)

    def peer(request: HttpRequest, _body: bytes) -> BufferedResponse:
        if request.url.startswith(REALM):
            return token("t1")
        return OK if "Authorization" in request.headers else WANTS_TOKEN

    player.peer = peer
    request = HttpRequest("GET", URL)
    got = player.play(result_of(Gather([player.authorizer.send(request) for _ in range(2)], 2)))
    assert got == [OK, OK]
    # Both were asked before either had an answer; whoever came second still tried what was there first.
    assert _proofs(player).count("Bearer t1") == 2


def test_a_token_renewed_meanwhile_is_tried_first() -> None:
    player = _player(ME)
    first = player.authorizer.send(HttpRequest("GET", URL))
    second = player.authorizer.send(HttpRequest("GET", URL))
    next(first)
    next(second)
    alone: Any = first.send(WANTS_BASIC)
    assert isinstance(alone, Exclusive)
    assert isinstance(next(alone.flow), FindCredential)
    shown: Any = alone.flow.send(ME)
    assert shown.request.headers["Authorization"] == BASIC
    alone = second.send(WANTS_BASIC)
    shown = next(alone.flow)
    assert shown.request.headers["Authorization"] == BASIC


def test_a_wrong_login_is_shown_once_although_several_are_asked_for_it() -> None:
    player = _player(ME, *[WANTS_BASIC] * 4)
    flows = [player.authorizer.send(HttpRequest("GET", URL)) for _ in range(3)]

    def caught(flow: Flow[Any]) -> Flow[OllamaPushError]:
        try:
            yield from flow
        except PushRejected as error:
            return error
        raise AssertionError("it was let in")

    refusals = player.play(result_of(Gather([caught(flow) for flow in flows], 3)))
    assert _proofs(player) == [None, None, None, BASIC]
    assert len({str(refusal) for refusal in refusals}) == 1


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "503"])
def test_flows_side_by_side_find_out_once_that_the_realm_fails(*, is_lost: bool) -> None:
    """Each would wait as long for it, one after the other. Who comes later asks again."""

    def caught(flow: Flow[Any]) -> Flow[OllamaPushError]:
        try:
            yield from flow
        except OllamaPushError as error:
            return error
        raise AssertionError("it was let in")

    def registry(request: HttpRequest, _body: bytes) -> BufferedResponse | TransportError:
        if request.url.startswith(REALM):
            return ConnectionLost(REALM) if is_lost else response(503)
        return WANTS_TOKEN_ONLY

    player = FlowPlayer(registry, credentials={HOST: ME})
    for times in (1, 2):
        flows = [caught(player.authorizer.send(HttpRequest("GET", URL))) for _ in range(3)]
        errors = player.play(result_of(Gather(flows, 3)))
        assert sum(request.url.startswith(REALM) for request in player.requests) == times
        assert len({id(error) for error in errors}) == 3
        assert len({(type(error), str(error)) for error in errors}) == 1


@pytest.mark.parametrize(
    ("again", "words"),
    [
        (refuse(401, "UNAUTHORIZED", "the account is locked"), " (UNAUTHORIZED: the account is locked)"),
        (response(200, {}, b"a blob"), ""),
        (LOST, ""),
    ],
    ids=["words", "lets in", "lost"],
)
def test_a_head_that_is_refused_is_asked_again_for_words(again: BufferedResponse | TransportError, words: str) -> None:
    player = _player(ME, WANTS_BASIC, WANTS_BASIC, again)
    with pytest.raises(PushRejected) as caught:
        player.play(player.authorizer.send(HttpRequest("HEAD", URL)))
    assert caught.value.message == f"{HOST} does not accept the login of 'me' for me/llama{words}"
    assert [request.method for request in player.requests] == ["HEAD", "HEAD", "GET"]
    assert _proofs(player) == [None, BASIC, BASIC]


def test_other_origins_are_shown_nothing() -> None:
    player = _player(ME, WANTS_BASIC, OK, WANTS_BASIC)
    _send(player)
    assert _send(player, "https://store.test/u") is WANTS_BASIC
    assert _proofs(player) == [None, BASIC, None]


@pytest.mark.parametrize("script", [(LOST,), (WANTS_BASIC, LOST)])
def test_no_answer_is_handed_through(script: tuple[BufferedResponse | TransportError, ...]) -> None:
    assert _send(_player(ME, *script)) is LOST


def test_a_request_that_nobody_has_read_is_sent_again_with_its_login() -> None:
    unread = ConnectionLost(ORIGIN, unread=True)
    player = _player(ME, WANTS_TOKEN_ONLY, unread, token("t"), unread, OK)
    assert _send(player) is OK
    assert [request.url.partition("?")[0] for request in player.requests] == [URL, REALM, REALM, URL, URL]
    assert [request.fresh for request in player.requests] == [False, False, True, False, True]
    assert _proofs(player)[3:] == ["Bearer t", "Bearer t"]
    assert player.of(ReportRetry) == [ReportRetry(unread, 0.0)] * 2
    assert player.waits == []


def test_a_request_that_nobody_reads_on_a_new_connection_is_lost() -> None:
    player = _player(None, *[ConnectionLost(ORIGIN, unread=True) for _ in range(2)])
    error = _send(player)
    assert isinstance(error, ConnectionLost)
    assert not error.unread


def test_a_realm_that_cannot_be_reached_is_no_answer() -> None:
    with pytest.raises(ConnectionLost):
        _send(_player(ME, WANTS_TOKEN_ONLY, LOST))


@pytest.mark.parametrize("realm", ["http://auth.test/t", "t", "ftp://auth.test/t", "https://["])
def test_a_login_goes_to_no_realm_in_the_clear(realm: str) -> None:
    player = _player(ME, response(401, {"www-authenticate": f'Bearer realm="{realm}"'}))
    error = _refused(player)
    assert error.reason is RejectionReason.REALM_MISMATCH
    assert "nothing was sent there" in error.message
    assert len(player.requests) == 1


@pytest.mark.parametrize(("realm", "goes"), [("http://reg.test:81/t", True), ("http://auth.test/t", False)])
def test_plain_http_is_for_the_registrys_own_host(realm: str, goes: bool) -> None:  # noqa: FBT001 - a table's column
    challenge = response(401, {"www-authenticate": f'Bearer realm="{realm}"'})
    player = _player(ME, challenge, token("t"), OK, plain_http=True)
    if goes:
        assert _send(player, f"http://{HOST}/v2/") is OK
    else:
        assert _refused(player, f"http://{HOST}/v2/").reason is RejectionReason.REALM_MISMATCH


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (refuse(401, "DENIED", "no"), PushRejected, "does not accept the login of 'me' for me/llama (DENIED: no)"),
        (response(403), PushRejected, "does not accept the login of 'me' for me/llama"),
        (response(200, {}, b"<html>"), PushRejected, f"{REALM} responded without a token"),
        (response(404), PushRejected, f"asking {REALM} for a token: HTTP 404"),
        (response(503), ServerError, f"HTTP 503: asking {REALM} for a token"),
    ],
)
def test_a_realm_that_gives_no_token(given: BufferedResponse, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        _send(_player(ME, WANTS_TOKEN_ONLY, given))
    assert text in str(caught.value)


def _challenge(realm: str) -> BufferedResponse:
    return response(401, {"www-authenticate": f'Bearer realm="{realm}",service="s",scope="repository:a/b:pull"'})


@pytest.mark.parametrize("case", _TABLES["RegistryRealmHost"]["cases"], ids=lambda case: case["original_host"])
def test_a_signature_goes_where_upstream_sends_it(case: dict[str, Any]) -> None:
    host = case["original_host"]
    player = FlowPlayer(responses(_challenge(case["realm"]), token("t"), OK), credentials={host: Key()}, host=host)
    if case["mismatch"]:
        error = _refused(player, player.endpoint.base)
        realm_host = case["realm"].split("/")[2]
        assert error.message == f'realm host "{realm_host}" does not match original host "{host}"'
        assert error.reason is RejectionReason.REALM_MISMATCH
    else:
        assert _send(player, player.endpoint.base) is OK
        assert (_proofs(player)[1] or "").startswith("AAAAKEY:")
        assert "scope=repository%3Aa%2Fb%3Apull&" in player.requests[1].url, "the scopes the registry names"


def test_ollamas_registry_may_name_a_realm_of_its_own() -> None:
    host = "registry.ollama.ai"
    player = FlowPlayer(
        responses(_challenge("https://ollama.com/t"), token("t"), OK), credentials={host: Key()}, host=host
    )
    assert _send(player, player.endpoint.base) is OK


@pytest.mark.parametrize(
    "realm",
    ["https://ollama.com:x@evil.example/t", "https://ollama.com@evil.example/t", "https://evil.example#ollama.com"],
)
def test_userinfo_is_no_host(realm: str) -> None:
    host = "registry.ollama.ai"
    player = FlowPlayer(responses(_challenge(realm)), credentials={host: Key()}, host=host)
    assert "does not match original host" in _refused(player, player.endpoint.base).message


def test_a_realm_is_asked_without_the_userinfo_in_its_url() -> None:
    player = _player(ME, _challenge("https://a:b@auth.test/t?x=@"), token("t"), OK)
    assert _send(player) is OK
    assert player.requests[1].url.startswith("https://auth.test/t?x=")


@pytest.mark.parametrize("credential", [None, ME, IdentityToken("1d"), Key()])
@pytest.mark.parametrize(
    ("realm", "problem"),
    [
        ("https://127.0.0.1:81/t", AddressProblem.LOOPBACK),
        ("http://localhost:81/t", AddressProblem.PLAIN_HTTP),
        ("https://reg.test:5000@2130706433/t", AddressProblem.LOOPBACK),
        ("https://169.254.169.254/t", AddressProblem.LINK_LOCAL),
        ("https://[fd00:ec2::254]/t", AddressProblem.METADATA),
        ("https://\uff11\uff12\uff17.0.0.1/t", AddressProblem.NOT_A_HOST),
    ],
)
def test_a_realm_must_not_lead_to_what_only_this_machine_reaches(
    credential: Credential | None, realm: str, problem: AddressProblem
) -> None:
    player = _player(credential, _challenge(realm))
    facts = _refused(player).facts
    if isinstance(credential, Key):
        assert isinstance(facts, RealmRefused)
    else:
        assert isinstance(facts, ForbiddenAddress)
        assert facts.problem is problem
    assert len(player.requests) == 1


def test_on_loopback_a_realm_may_be_on_loopback() -> None:
    player = FlowPlayer(
        responses(_challenge("http://127.0.0.1:81/t"), token("t"), OK), host="localhost:5000", plain_http=True
    )
    assert _send(player, player.endpoint.base) is OK


def test_a_key_that_may_not_push_is_shown() -> None:
    player = _player(Key(), _challenge(f"{ORIGIN}/t"), response(403))
    message = _refused(player).message
    assert message == (
        f"{HOST} does not let this key push to me/llama; add it to the account that may: ssh-ed25519 AAAAKEY"
    )


def test_an_identity_token_that_is_refused() -> None:
    assert (
        "does not accept the stored token" in _refused(_player(IdentityToken("t"), WANTS_TOKEN, response(401))).message
    )


def test_a_success_stays_as_it_is_and_a_refusal_hides_the_login() -> None:
    """What a success holds is what was asked for: a manifest, for example, whose digest is compared."""
    said = b"me:pa55"
    success = _send(_player(ME, WANTS_BASIC, response(200, {}, said)))
    refusal = _send(_player(ME, WANTS_BASIC, response(403, {}, said)))
    assert isinstance(success, BufferedResponse)
    assert isinstance(refusal, BufferedResponse)
    assert (success.body, refusal.body) == (said, b"me:<hidden>")
