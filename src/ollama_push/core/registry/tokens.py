"""Getting a bearer token: the request to the realm, and its response.

Source: distribution "Token Authentication Specification" and "Oauth2 Token Authentication"; ollama
``server/auth.go`` ``getAuthorizationToken`` at fb3076099 for the signed form.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from ollama_push.core.arguments import ClientSeconds
from ollama_push.core.json_text import decode_json
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.challenges import Challenge
from ollama_push.core.registry.credentials import PRINTABLE, AccessToken, Credential, IdentityToken, Login, Signer
from ollama_push.core.responses import BufferedResponse

__all__ = ["REQUEST_TIMEOUT_SECONDS", "Token", "basic", "merged_scopes", "signed_realm", "token_in", "token_request"]

REQUEST_TIMEOUT_SECONDS: Final = ClientSeconds(60.0)
"""Longest silence of a registry or realm that is asked a small question."""

_LIFE_UNLESS_SAID_SECONDS: Final = 60.0
"""``expires_in`` when absent. Source: "Token Authentication Specification", "Token Response Fields"."""

_CLIENT_ID: Final = "ollama-push"
# base64(hex(sha256(""))): the body of the signed request is always empty.
_EMPTY_BODY: Final = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
NONCE_BYTES: Final = 16


@attrs.frozen
class Token:
    """A bearer token.

    Attributes:
        value: What goes behind ``Bearer``.
        life_seconds: How long it is good for, counted from when it was asked for.
    """

    value: str = attrs.field(repr=False)
    life_seconds: float


def basic(login: Login) -> str:
    """Return the ``Authorization`` value of *login* (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{login.username}:{login.password}'.encode()).decode()}"


def merged_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return *scopes* with each resource once, and all actions that any of them names for it.

    >>> merged_scopes(["repository:a/b:pull,push", "aws", "repository:a/b:pull"])
    ('repository:a/b:pull,push', 'aws')

    Source: distribution "Token Scope Documentation"; not every registry's scopes are of that form.
    """
    merged: dict[str, dict[str, None]] = {}
    for scope in scopes:
        resource, colon, actions = scope.rpartition(":")
        merged.setdefault(f"{resource}{colon}" or scope, {}).update(dict.fromkeys(actions.split(",") if colon else ()))
    return tuple(resource + ",".join(actions) for resource, actions in merged.items())


def token_request(
    challenge: Challenge,
    scopes: Sequence[str],
    credential: Credential | None,
    *,
    nonce: Callable[[int], bytes],
    now: Callable[[], float],
    headers: dict[str, str],
    read_timeout: float = REQUEST_TIMEOUT_SECONDS,
) -> HttpRequest:
    """Return the request that asks the realm of *challenge* for a token.

    Args:
        challenge: A bearer challenge with an absolute realm.
        scopes: What the token must allow.
        credential: Who asks; ``None`` asks anonymously.
        nonce: Random bytes, for the signed form.
        now: Unix time in seconds, for the signed form.
        headers: Sent along.
        read_timeout: Longest silence of the realm.
    """
    service = {"service": challenge.service} if challenge.service else {}
    query = [*service.items(), *(("scope", scope) for scope in scopes)]
    match credential:
        case IdentityToken(token):
            form = {"grant_type": "refresh_token", "client_id": _CLIENT_ID, **service, "scope": " ".join(scopes)}
            return HttpRequest(
                "POST",
                challenge.realm,
                {**headers, "Content-Type": "application/x-www-form-urlencoded"},
                urlencode({**form, "refresh_token": token}).encode(),
                read_timeout,
            )
        case None | AccessToken():
            url, proof = _with_query(challenge.realm, query), {}
        case Login(username=username):
            url = _with_query(challenge.realm, [*query, ("account", username)])
            proof = {"Authorization": basic(credential)}
        case signer:
            signature = {"nonce": _unpadded(nonce(NONCE_BYTES)), "ts": str(int(now()))}
            # Go's Encode sorts by key, and the signature is over the text.
            url = _with_query(challenge.realm, sorted([*query, *signature.items()]))
            proof = {"Authorization": _proof(signer, f"GET,{url},{_EMPTY_BODY}")}
    return HttpRequest("GET", url, {**headers, **proof}, b"", read_timeout)


def token_in(response: BufferedResponse) -> Token | None:
    """Return the token in a realm's response; ``None`` when there is none."""
    try:
        value = decode_json(response.body)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    # The same token under two names: the first is distribution's own, the second OAuth's.
    texts = [
        text
        for key in ("token", "access_token")
        if isinstance(text := value.get(key), str) and PRINTABLE.fullmatch(text)
    ]
    life = value.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, int | float) or not life > 0:
        life = _LIFE_UNLESS_SAID_SECONDS
    return Token(texts[0], float(min(life, 1e9))) if texts else None


def signed_realm(realm: str, host: str) -> bool:
    """Say whether a signature for *host* may go to *realm*: only to the very same host and port.

    Source: ollama ``server/auth.go`` (v0.14.3+), the fix of CVE-2025-51471.
    """
    there, own = urlsplit(realm), urlsplit(f"//{host}")
    return (there.hostname, there.port) == (own.hostname, own.port)


def _with_query(url: str, pairs: Sequence[tuple[str, str]]) -> str:
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *pairs])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _proof(signer: Signer, text: str) -> str:
    return f"{signer.public_key}:{base64.b64encode(signer.sign(text.encode())).decode()}"
