"""Ollama's own scheme: a token for whoever signs a URL with a known ed25519 key.

Source: ollama ``server/auth.go``, ``auth/auth.go`` at fb3076099; the realm is on the registry's own origin, as
Ollama demands since v0.14.3.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping
from ssl import SSLContext
from typing import Final

from aiohttp import web

from ollama_push.testing.registry.auth import Access, Endpoint
from ollama_push.testing.registry.grants import Grants, Permissions, granted_scopes
from ollama_push.testing.registry.tokens import TokenRequest

__all__ = ["SignedAuth"]

_EMPTY_BODY: Final = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="
"""base64 of the hex SHA-256 of nothing: the body of the signed ``GET``."""
_MAX_SKEW_SECONDS: Final = 300.0


class SignedAuth:
    """Token authentication with signed requests, at ``/token`` of the registry.

    Needs the extra ``signing``.

    Args:
        public_keys: Middle fields of OpenSSH public keys (base64) that are known.
        permissions: What a key may do in a repository; ``None`` for everything in all of them.
        expires_in: Seconds a token lives.
        expires_after_uses: Requests a token is good for.
    """

    def __init__(
        self,
        public_keys: Collection[str],
        permissions: Permissions | None = None,
        *,
        expires_in: float = 300.0,
        expires_after_uses: int | None = None,
    ) -> None:
        self._keys = frozenset(public_keys)
        self._permissions = permissions or (lambda _key, _repository: ("pull", "push", "delete"))
        self._grants = Grants(expires_in, expires_after_uses)
        self._lock = threading.Lock()
        self._nonces: set[str] = set()
        self._requests: list[TokenRequest] = []

    @property
    def token_requests(self) -> list[TokenRequest]:
        """What was asked of the endpoint so far; the user is the public key."""
        with self._lock:
            return list(self._requests)

    def expire_all(self) -> None:
        """Make every token given out so far worthless."""
        self._grants.expire_all()

    def check(self, request: web.BaseRequest, access: Access | None) -> None:
        self._grants.check(request, access, f"{request.scheme}://{request.host}/token")

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        return self._grants.may(request, access)

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {"/token": self._answer}

    async def serving(self, tls: SSLContext | None) -> AsyncIterator[None]:  # noqa: ARG002 - see Auth
        yield

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        public, _, signature = request.headers.get("Authorization", "").partition(":")
        why = self._refusal(request, public, signature)
        scopes = request.query.getall("scope", [])
        seen = TokenRequest(
            request.method,
            "" if why else public,
            tuple(scopes),
            request.query.get("service", ""),
            "",
            401 if why else 200,
        )
        with self._lock:
            self._requests.append(seen)
        if why:
            return web.json_response({"error": why}, status=401)
        return web.json_response({"token": self._grants.issue(granted_scopes(self._permissions, public, scopes))})

    def _refusal(self, request: web.Request, public: str, signature: str) -> str:
        """Return why the request is not trusted; empty when it is."""
        if request.method != "GET" or public not in self._keys:
            return "unknown key"
        url = f"{request.scheme}://{request.host}{request.raw_path}"
        if not _is_signed(public, signature, f"GET,{url},{_EMPTY_BODY}".encode()):
            return "wrong signature"
        try:
            skew = abs(time.time() - int(request.query.get("ts", "")))
        except ValueError:
            return "no timestamp"
        if skew > _MAX_SKEW_SECONDS:
            return "stale timestamp"
        nonce = request.query.get("nonce", "")
        with self._lock:
            if not nonce or nonce in self._nonces:
                return "used nonce"
            self._nonces.add(nonce)
        return ""


def _is_signed(public: str, signature: str, text: bytes) -> bool:
    # Only who asks for this scheme needs the extra.
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key  # noqa: PLC0415 - see above

    try:
        key = load_ssh_public_key(b"ssh-ed25519 " + public.encode())
        if not isinstance(key, Ed25519PublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), text)
    except (InvalidSignature, UnsupportedAlgorithm, binascii.Error, ValueError):
        return False
    return True
