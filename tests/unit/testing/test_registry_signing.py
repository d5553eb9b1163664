"""The embedded registry takes tokens that were asked for with a signature, as Ollama does."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.registry_client import REPOSITORY, RawClient
from tests.support.registry_login import (
    OTHER,
    SCOPE,
    bearer,
    challenged,
    guarded,
    post,
)

from ollama_push.core.registry.challenges import Challenge
from ollama_push.testing.registry import (
    SignedAuth,
    TokenRequest,
)

_EMPTY = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="


class Key:
    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        line = self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        self.public = line.split()[1].decode()

    def ask(self, peer: RawClient, challenge: Challenge, **changes: str) -> urllib3.BaseHTTPResponse:
        """Ask for a token as Ollama does; *changes* replace parts of the query, or what is signed."""
        signed = changes.pop("signed", None)
        fields = {"nonce": "n-1", "scope": challenge.scope, "service": challenge.service, "ts": str(int(time.time()))}
        url = f"{challenge.realm}?{urlencode({**fields, **changes}, quote_via=quote, safe='')}"
        text = f"GET,{url},{_EMPTY}" if signed is None else signed
        signature = base64.b64encode(self._key.sign(text.encode())).decode()
        return peer.send("GET", url, headers={"Authorization": f"{self.public}:{signature}"})


def test_who_signs_with_a_known_key_gets_a_token(tmp_path: Path) -> None:
    key = Key()
    auth = SignedAuth([key.public])
    with guarded(tmp_path, auth) as (registry, peer):
        challenge = challenged(post(peer, {}))
        assert challenge.realm == f"{registry.url}/token"
        token = key.ask(peer, challenge).json()["token"]
        assert post(peer, bearer(token)).status == 202
        assert auth.token_requests == [TokenRequest("GET", key.public, (SCOPE,), registry.host, "", 200)]
        assert (registry.requests[1].had_authorization, registry.requests[1].scheme) == (True, "")
        auth.expire_all()
        assert post(peer, bearer(token)).status == 401


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"signed": "GET,http://elsewhere/token,x"}, "wrong signature"),
        ({"ts": str(int(time.time()) - 400)}, "stale timestamp"),
        ({"ts": "soon"}, "no timestamp"),
        ({"nonce": ""}, "used nonce"),
    ],
)
def test_a_signature_that_does_not_fit_gets_none(tmp_path: Path, changes: dict[str, str], why: str) -> None:
    key = Key()
    with guarded(tmp_path, SignedAuth([key.public])) as (_, peer):
        response = key.ask(peer, challenged(post(peer, {})), **changes)
        assert (response.status, response.json()) == (401, {"error": why})


def test_a_nonce_is_good_once_and_a_stranger_never(tmp_path: Path) -> None:
    key, stranger = Key(), Key()
    with guarded(tmp_path, SignedAuth([key.public])) as (_, peer):
        challenge = challenged(post(peer, {}))
        assert [key.ask(peer, challenge).status for _ in range(2)] == [200, 401]
        assert stranger.ask(peer, challenge).json() == {"error": "unknown key"}
        for authorization in ("", "x", f"{key.public}:!!!", f"{key.public}:AAAA"):
            headers = {"Authorization": authorization}
            assert peer.send("GET", challenge.realm, headers=headers).status == 401


def test_a_key_may_what_its_permissions_say(tmp_path: Path) -> None:
    key = Key()
    auth = SignedAuth([key.public], {key.public: {OTHER: ["pull", "push"]}}, expires_after_uses=1)
    with guarded(tmp_path, auth) as (_, peer):
        mine = key.ask(peer, challenged(post(peer, {}, OTHER))).json()["token"]
        assert [post(peer, bearer(mine), OTHER).status for _ in range(2)] == [202, 401]
        theirs = key.ask(peer, challenged(post(peer, {})), nonce="n-2").json()["token"]
        assert post(peer, bearer(theirs)).status == 401


def test_what_calls_itself_a_key_and_is_none_is_refused(tmp_path: Path) -> None:
    with guarded(tmp_path, SignedAuth(["bm8ga2V5"])) as (_, peer):
        challenge = challenged(post(peer, {}))
        response = peer.send("GET", challenge.realm, headers={"Authorization": "bm8ga2V5:AAAA"})
        assert response.json() == {"error": "wrong signature"}


def test_a_mount_needs_the_right_to_read_its_source(tmp_path: Path) -> None:
    key = Key()
    with guarded(tmp_path, SignedAuth([key.public])) as (_, peer):
        realm = challenged(post(peer, {}))
        wide = Challenge("bearer", {**realm.parameters, "scope": f"{SCOPE} repository:{OTHER}:pull,push"})
        tokens = [key.ask(peer, each, nonce=str(n)).json()["token"] for n, each in enumerate((realm, wide))]
        peer.headers = bearer(tokens[1])
        digest = peer.push(b"abc", OTHER)
        peer.headers = {}
        where = f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from={OTHER}"
        assert [peer.send("POST", where, headers=bearer(token)).status for token in tokens] == [202, 201]
