"""What a peer says back of what it was sent: our secrets are not in it, whatever form it quotes them in."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote

import pytest

from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.secrets import without_secrets
from ollama_push.core.responses import BufferedResponse

HIDDEN = b"<hidden>"


def shown(body: str, credential: Credential | None, proof: str = "", status: int = 403) -> bytes:
    return without_secrets(BufferedResponse(status, {}, body.encode()), credential, proof).body


@pytest.mark.parametrize("secret", ["open sesame", 'p"a\\ss', "caf\u00e9/+", "<hidden>"])
def test_a_password_is_taken_out_in_whatever_form_it_comes_back(secret: str) -> None:
    forms = [secret, json.dumps(secret)[1:-1], quote(secret, safe=""), b64encode(f"alice:{secret}".encode()).decode()]
    assert shown(" | ".join(["alice", *forms]), Login("alice", secret)) == b" | ".join([b"alice", *[HIDDEN] * 4])


def test_a_short_password_is_not_looked_for_in_what_was_put_instead() -> None:
    assert shown("e or d", Login("alice", "e")) == b"<hidden> or d"


@pytest.mark.parametrize("credential", [IdentityToken("refresh-me"), AccessToken("refresh-me")])
def test_a_token_is_taken_out(credential: Credential) -> None:
    assert shown("no: refresh-me", credential) == b"no: <hidden>"


def test_the_proof_in_use_is_taken_out_of_anybodys_answers() -> None:
    assert shown("you sent Bearer abc.def", None, "Bearer abc.def") == b"you sent Bearer <hidden>"


@pytest.mark.parametrize("credential", [None, Login("alice", "")])
def test_without_a_secret_an_answer_stays_as_it_is(credential: Credential | None) -> None:
    assert shown("as it is", credential) == b"as it is"
