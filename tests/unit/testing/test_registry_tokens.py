"""The embedded registry takes tokens from its endpoint, each for what it was given."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import trustme
import urllib3
from tests.support.registry_client import REPOSITORY, RawClient
from tests.support.registry_login import (
    OTHER,
    RIGHTS,
    SCOPE,
    USERS,
    ask,
    basic,
    bearer,
    challenged,
    guarded,
    params_of,
    post,
    token_for,
)

from ollama_push.core.registry.challenges import Challenge
from ollama_push.testing.registry import (
    EmbeddedRegistry,
    TokenAuth,
    TokenRequest,
)


def test_a_challenge_names_a_realm_on_another_origin_and_the_scope(tmp_path: Path) -> None:
    auth = TokenAuth(USERS, RIGHTS)
    with guarded(tmp_path, auth) as (registry, peer):
        challenge = challenged(post(peer, {}))
        assert (challenge.scheme, challenge.service, challenge.scope) == ("bearer", registry.host, SCOPE)
        assert challenge.realm == auth.realm
        assert urlsplit(challenge.realm).netloc != registry.host
        assert challenged(peer.send("GET", "/v2/")).scope == ""
        assert challenged(peer.send("DELETE", f"/v2/{REPOSITORY}/manifests/v1")).scope.endswith(":delete")


def test_a_token_opens_its_own_repository_only(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS)) as (registry, peer):
        token = token_for(peer)
        assert post(peer, bearer(token)).status == 202
        assert peer.send("GET", "/v2/", headers=bearer(token)).status == 200
        refused = challenged(post(peer, bearer(token), OTHER))
        assert refused.parameters["error"] == "insufficient_scope"
        assert refused.scope == f"repository:{OTHER}:pull,push"
        assert token not in repr(registry.requests)


def test_a_token_holds_what_the_user_may_and_no_more(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS)) as (_, peer):
        token = token_for(peer, "bob")
        assert challenged(post(peer, bearer(token))).parameters["error"] == "insufficient_scope"
        assert peer.send("GET", f"/v2/{REPOSITORY}/tags/list", headers=bearer(token)).status == 404


def test_nobody_in_particular_may_what_the_permissions_say(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS)) as (_, peer):
        token = ask(peer, Challenge("bearer", params_of(peer, OTHER))).json()["token"]
        assert peer.send("GET", f"/v2/{OTHER}/tags/list", headers=bearer(token)).status == 404
        assert post(peer, bearer(token), OTHER).status == 401


def test_permissions_can_be_a_function(tmp_path: Path) -> None:
    auth = TokenAuth(USERS, lambda user, repository: {"pull", "push"} if (user, repository) == ("bob", OTHER) else ())
    with guarded(tmp_path, auth) as (_, peer):
        assert post(peer, bearer(token_for(peer, "bob", OTHER)), OTHER).status == 202
        assert post(peer, bearer(token_for(peer, "bob"))).status == 401


def test_a_star_asks_for_everything_one_may(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS)) as (_, peer):
        challenge = Challenge(
            "bearer", {**params_of(peer, REPOSITORY), "scope": f"repository:{REPOSITORY}:* registry:x:y"}
        )
        token = ask(peer, challenge, "ann").json()["token"]
        assert peer.send("DELETE", f"/v2/{REPOSITORY}/manifests/v1", headers=bearer(token)).status == 404


def test_a_wrong_password_gets_no_token(tmp_path: Path) -> None:
    auth = TokenAuth(USERS, RIGHTS)
    with guarded(tmp_path, auth) as (_, peer):
        challenge = challenged(post(peer, {}))
        url = f"{challenge.realm}?{urlencode({'service': challenge.service, 'scope': challenge.scope})}"
        assert peer.send("GET", url, headers=basic("ann", "wr0ng")).status == 401
        assert auth.token_requests == [TokenRequest("GET", "", (SCOPE,), challenge.service, "", 401)]
        assert "wr0ng" not in repr(auth.token_requests)


def test_token_requests_are_told_without_secrets(tmp_path: Path) -> None:
    auth = TokenAuth(USERS, RIGHTS)
    with guarded(tmp_path, auth) as (registry, peer):
        token_for(peer)
        assert auth.token_requests == [TokenRequest("GET", "ann", (SCOPE,), registry.host, "", 200)]


def test_a_token_is_worn_out_after_its_uses(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS, expires_after_uses=2)) as (_, peer):
        headers = bearer(token_for(peer))
        assert [post(peer, headers).status for _ in range(3)] == [202, 202, 401]
        assert challenged(post(peer, headers)).parameters["error"] == "invalid_token"


def test_a_token_expires_by_time_and_by_order(tmp_path: Path) -> None:
    auth = TokenAuth(USERS, RIGHTS, expires_in=0.0)
    with guarded(tmp_path / "a", auth) as (_, peer):
        assert challenged(post(peer, bearer(token_for(peer)))).parameters["error"] == "invalid_token"
    auth = TokenAuth(USERS, RIGHTS)
    with guarded(tmp_path / "b", auth) as (_, peer):
        headers = bearer(token_for(peer))
        assert post(peer, headers).status == 202
        auth.expire_all()
        assert post(peer, headers).status == 401


def test_the_answer_can_be_called_access_token(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS, access_token_key=True, expires_in=60)) as (_, peer):
        body = ask(peer, challenged(post(peer, {})), "ann").json()
        assert sorted(body) == ["access_token", "expires_in", "issued_at"]
        assert body["expires_in"] == 60
        assert post(peer, bearer(body["access_token"])).status == 202


def test_an_identity_token_is_traded_for_an_access_token(tmp_path: Path) -> None:
    auth = TokenAuth(USERS, RIGHTS, identity_tokens={"identity-of-ann": "ann"})
    with guarded(tmp_path, auth) as (_, peer):
        challenge = challenged(post(peer, {}))
        form = {"grant_type": "refresh_token", "refresh_token": "identity-of-ann", "service": challenge.service}
        response = _oauth(peer, challenge, {**form, "scope": challenge.scope, "client_id": "x"})
        assert post(peer, bearer(response.json()["access_token"])).status == 202
        assert auth.token_requests == [TokenRequest("POST", "ann", (SCOPE,), challenge.service, "refresh_token", 200)]
        assert _oauth(peer, challenge, {**form, "refresh_token": "made-up"}).status == 401


def _oauth(peer: RawClient, challenge: Challenge, form: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return peer.send("POST", challenge.realm, urlencode(form).encode(), headers)


def test_an_identity_token_is_given_to_who_asks_for_one(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS, identity_tokens={})) as (_, peer):
        challenge = challenged(post(peer, {}))
        first = ask(peer, challenge, "ann", offline_token="true").json()["refresh_token"]
        password = {"grant_type": "password", "username": "ann", "password": USERS["ann"], "access_type": "offline"}
        second = _oauth(peer, challenge, password).json()["refresh_token"]
        for identity in (first, second):
            form = {"grant_type": "refresh_token", "refresh_token": identity, "scope": challenge.scope}
            assert post(peer, bearer(_oauth(peer, challenge, form).json()["access_token"])).status == 202
        assert _oauth(peer, challenge, {**password, "password": "wrong"}).status == 401
        assert _oauth(peer, challenge, {"grant_type": "magic"}).status == 401


def test_without_oauth_a_post_is_not_allowed(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS)) as (_, peer):
        assert _oauth(peer, challenged(post(peer, {})), {"grant_type": "refresh_token"}).status == 405


def test_the_realm_can_be_on_the_registry_itself(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS, same_origin=True)) as (registry, peer):
        assert challenged(post(peer, {})).realm == f"{registry.url}/token"
        assert post(peer, bearer(token_for(peer))).status == 202


def test_the_realm_and_its_tokens_survive_a_restart(tmp_path: Path) -> None:
    auth = TokenAuth(USERS, RIGHTS)
    with guarded(tmp_path, auth) as (registry, peer):
        realm, headers = auth.realm, bearer(token_for(peer))
        peer.pool.clear()
        registry.restart()
        assert auth.realm == realm
        assert post(peer, headers).status == 202


def test_the_token_endpoint_speaks_tls_when_the_registry_does(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = urllib3.util.create_urllib3_context()
    authority.configure_trust(context)
    auth = TokenAuth(USERS, RIGHTS)
    with (
        EmbeddedRegistry(tmp_path, auth=auth, tls=_serving(authority)) as registry,
        RawClient(registry, tls=context) as peer,
    ):
        assert auth.realm.startswith("https://")
        assert post(peer, bearer(token_for(peer))).status == 202


def _serving(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_mount_needs_the_right_to_read_its_source(tmp_path: Path) -> None:
    with guarded(tmp_path, TokenAuth(USERS, RIGHTS)) as (_, peer):
        peer.headers = bearer(token_for(peer, repository=OTHER))
        digest = peer.push(b"abc", OTHER)
        peer.headers = {}
        params = params_of(peer, REPOSITORY)
        where = f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}"
        for scope, query, status in [
            (SCOPE, f"&from={OTHER}", 202),
            (SCOPE, "", 202),
            (f"{SCOPE} repository:{OTHER}:pull", f"&from={OTHER}", 201),
        ]:
            token = ask(peer, Challenge("bearer", {**params, "scope": scope}), "ann").json()["token"]
            assert peer.send("POST", f"{where}{query}", headers=bearer(token)).status == status
