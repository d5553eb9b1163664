"""The embedded registry asks for a password, and no scheme lets anybody in unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.blobs import digest_of
from tests.support.registry_client import REPOSITORY
from tests.support.registry_login import OTHER, RIGHTS, USERS, basic, bearer, challenged, guarded, post

from ollama_push.core.registry.challenges import Challenge
from ollama_push.testing.registry import (
    Auth,
    BasicAuth,
    Quirks,
    SignedAuth,
    TokenAuth,
)


def test_basic_lets_in_who_knows_the_password(tmp_path: Path) -> None:
    with guarded(tmp_path, BasicAuth(USERS, realm="here")) as (registry, peer):
        assert challenged(post(peer, {})) == Challenge("basic", {"realm": "here"})
        assert post(peer, basic("ann", USERS["ann"])).status == 202
        assert peer.send("GET", "/v2/", headers=basic("bob", USERS["bob"])).status == 200
        assert [(seen.had_authorization, seen.scheme) for seen in registry.requests[:2]] == [
            (False, ""),
            (True, "basic"),
        ]
        assert USERS["ann"] not in repr((registry.requests, BasicAuth(USERS)))


@pytest.mark.parametrize(
    "headers",
    [
        basic("ann", "wrong"),
        basic("eve", USERS["ann"]),
        basic("ann", ""),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic /w=="},
        {"Authorization": "Basic"},
        bearer("x"),
    ],
)
def test_basic_keeps_everybody_else_out(tmp_path: Path, headers: dict[str, str]) -> None:
    with guarded(tmp_path, BasicAuth(USERS)) as (registry, peer):
        assert peer.send("GET", "/v2/", headers=headers).status == 401
        assert post(peer, headers).status == 401
        assert registry.sessions() == []


def test_basic_mounts_across_repositories(tmp_path: Path) -> None:
    with guarded(tmp_path, BasicAuth(USERS)) as (_, peer):
        peer.headers = basic("ann", USERS["ann"])
        digest = peer.push(b"abc", OTHER)
        assert peer.send("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from={OTHER}").status == 201


def test_a_redirected_blob_needs_no_authorization_at_its_own_url(tmp_path: Path) -> None:
    with guarded(tmp_path, BasicAuth(USERS), quirks=Quirks(redirect_blobs=True)) as (_, peer):
        peer.headers = basic("ann", USERS["ann"])
        digest = peer.push(b"abc")
        location = peer.send("GET", f"/v2/{REPOSITORY}/blobs/{digest}").headers["Location"]
        peer.headers = {}
        assert peer.send("GET", location).data == b"abc"


def test_no_scheme_lets_an_upload_in_unasked(tmp_path: Path) -> None:
    where = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(b'abc')}"
    guards: list[Auth] = [BasicAuth(USERS), TokenAuth(USERS, RIGHTS), SignedAuth([])]
    for number, auth in enumerate(guards):
        with guarded(tmp_path / str(number), auth) as (registry, peer):
            assert peer.send("POST", where, b"abc").status == 401
            assert (registry.blob(digest_of(b"abc")), registry.received_bytes) == (None, 0)
