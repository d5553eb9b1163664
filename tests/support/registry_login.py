"""Somebody who logs in to the embedded registry, step by step."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from tests.support.registry_client import REPOSITORY, RawClient, codes

from ollama_push.core.registry.challenges import Challenge, parse_challenges
from ollama_push.testing.registry import (
    Auth,
    EmbeddedRegistry,
)

USERS: Final = {"ann": "s3cret-of-ann", "bob": "s3cret-of-bob"}
OTHER: Final = "other/one"
RIGHTS: Final = {
    "ann": {REPOSITORY: ["pull", "push", "delete"], OTHER: ["pull", "push"]},
    "bob": {REPOSITORY: ["pull"]},
    "": {OTHER: ["pull"]},
}
SCOPE: Final = f"repository:{REPOSITORY}:pull,push"


@contextmanager
def guarded(tmp_path: Path, auth: Auth, **more: Any) -> Iterator[tuple[EmbeddedRegistry, RawClient]]:
    with EmbeddedRegistry(tmp_path, auth=auth, **more) as registry, RawClient(registry) as peer:
        yield registry, peer


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def post(peer: RawClient, headers: Mapping[str, str], repository: str = REPOSITORY) -> urllib3.BaseHTTPResponse:
    return peer.send("POST", f"/v2/{repository}/blobs/uploads/", headers=headers)


def challenged(response: urllib3.BaseHTTPResponse) -> Challenge:
    assert (response.status, codes(response)) == (401, ["UNAUTHORIZED"])
    (challenge,) = parse_challenges(response.headers["WWW-Authenticate"])
    return challenge


def ask(peer: RawClient, challenge: Challenge, user: str = "", **more: str) -> urllib3.BaseHTTPResponse:
    query = urlencode({"service": challenge.service, "scope": challenge.scope, **more})
    headers = basic(user, USERS[user]) if user else {}
    return peer.send("GET", f"{challenge.realm}?{query}", headers=headers)


def token_for(peer: RawClient, user: str = "ann", repository: str = REPOSITORY) -> str:
    """Be challenged, ask, and return the token."""
    token = ask(peer, challenged(post(peer, {}, repository)), user).json()["token"]
    assert isinstance(token, str)
    return token


def params_of(peer: RawClient, repository: str) -> Mapping[str, str]:
    return challenged(peer.send("GET", f"/v2/{repository}/tags/list")).parameters
