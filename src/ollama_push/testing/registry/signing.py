"""Ollama's own scheme: a token for a request whose URL is signed with a known ed25519 key.

Source: ollama ``server/auth.go``, ``auth/auth.go`` at fb3076099; the realm is on the registry's own origin, as
Ollama demands since v0.14.3.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Collection, Mapping
from typing import Final

from aiohttp import web

from ollama_push.testing.registry.auth import WebHandler
from ollama_push.testing.registry.tokens import Permissions, TokenIssuer, TokenRequest

__all__ = ["SignedAuth"]

_EMPTY_BODY: Final = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="
"""base64 of the hex SHA-256 of nothing: the body of the signed ``GET``."""
_MAX_SKEW_SECONDS: Final = 300.0


class SignedAuth(TokenIssuer):
    """Token authentication with signed requests, at ``/token`` of the registry.

    Needs the extra ``signing``.

    Args:
        public_keys: Middle fields (base64) of the known OpenSSH public keys, which are the names of users too.
        permissions: What a key may do in a repository; ``None`` for everything in all of them.
        expires_in: Seconds a token lives.
        expires_after_uses: How many requests a token is valid for; ``None`` for any number.
    """

    def __init__(
        self,
        public_keys: Collection[str],
        permissions: Permissions | None = None,
        *,
        expires_in: float = 300.0,
        expires_after_uses: int | None = None,
    ) -> None:
        allowed = permissions or (lambda _key, _repository: ("pull", "push", "delete"))
        super().__init__(allowed, expires_in, expires_after_uses)
        self._keys = frozenset(public_keys)
        self._nonces: set[str] = set()

    def endpoints(self) -> Mapping[str, WebHandler]:
        return {"/token": self._respond}

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        public, _, signature = request.headers.get("Authorization", "").partition(":")
        refusal = self._refusal(request, public, signature)
        user, status = ("", 401) if refusal else (public, 200)
        scopes = tuple(request.query.getall("scope", []))
        self._note(TokenRequest(request.method, user, scopes, request.query.get("service", ""), "", status))
        if refusal:
            return web.json_response({"error": refusal}, status=401)
        return web.json_response({"token": self._issue(public, scopes)})

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
    # Imported here because only this scheme needs the extra ``signing``.
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
