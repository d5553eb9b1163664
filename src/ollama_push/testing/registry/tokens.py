"""Tokens: opaque, bound to scopes, expiring by time and by use; and two endpoints that issue them.

Source: distribution "Token Authentication Specification" and "Oauth2 Token Authentication"; ollama ``server/auth.go``,
``auth/auth.go`` at fb3076099.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from ssl import SSLContext
from typing import Final

import attrs
from aiohttp import web

from ollama_push.testing.registry.auth import Access, Auth, WebHandler, basic_user, listening
from ollama_push.testing.registry.refused import Refused

__all__ = ["Permissions", "SignedAuth", "TokenAuth", "TokenIssuer", "TokenRequest"]

_LOOPBACK: Final = "127.0.0.1"
_EMPTY_BODY: Final = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="
"""base64 of the hex SHA-256 of nothing: the body of the signed ``GET``."""
_MAX_SKEW_SECONDS: Final = 300.0

Permissions = Callable[[str, str], Collection[str]] | Mapping[str, Mapping[str, Collection[str]]]
"""Actions by user (``""`` when anonymous) and repository, as a function or as nested mappings."""

_SCOPE: Final = re.compile(r"repository:([^:]+):([a-z,*]*)")


@attrs.frozen
class TokenRequest:
    """One request for a token, without its secrets.

    Attributes:
        method: ``GET``, or ``POST`` for OAuth2.
        user: The authenticated user; empty when anonymous or refused.
        scopes: Scopes as requested.
        service: Service as requested.
        grant_type: Of OAuth2: ``"refresh_token"``, ``"password"``; else empty.
        status: Status of the response.
    """

    method: str
    user: str
    scopes: tuple[str, ...]
    service: str
    grant_type: str
    status: int


@attrs.define
class _Grant:
    scopes: Mapping[str, frozenset[str]]
    expires_at: float
    uses_left: float

    def covers(self, access: Access) -> bool:
        return access.actions <= self.scopes.get(access.repository, frozenset())


class TokenIssuer(Auth):
    """Issues tokens and checks them: what a scheme with tokens inherits. Safe between threads.

    Attributes:
        realm: URL of the token endpoint once it listens on an origin of its own; empty until then.
        token_requests: All requests for tokens so far.
    """

    def __init__(self, permissions: Permissions, expires_in: float, expires_after_uses: int | None) -> None:
        self._permissions = permissions
        self._expires_in = expires_in
        self._uses = float("inf") if expires_after_uses is None else float(expires_after_uses)
        self._lock = threading.Lock()
        self._grants: dict[str, _Grant] = {}
        self.token_requests: list[TokenRequest] = []
        self.realm: str = ""

    def expire_all(self) -> None:
        """Make every token issued so far invalid."""
        with self._lock:
            self._grants.clear()

    def check(self, request: web.BaseRequest, access: Access | None) -> None:
        with self._lock:
            token = _token_of(request)
            grant = self._grants.get(token)
            if grant is not None and (grant.uses_left < 1 or time.monotonic() >= grant.expires_at):
                del self._grants[token]
                grant = None
            if grant is not None:
                grant.uses_left -= 1
        if grant is None:
            error = "invalid_token" if token else ""
        elif access is not None and not grant.covers(access):
            error = "insufficient_scope"
        else:
            return
        realm = self.realm or f"{request.scheme}://{request.host}/token"
        scope = access.scope if access else ""
        parts = {"realm": realm, "service": request.host, "scope": scope, "error": error}
        shown = ",".join(f'{name}="{value}"' for name, value in parts.items() if value)
        raise Refused(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": f"Bearer {shown}"})

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        with self._lock:
            grant = self._grants.get(_token_of(request))
        return grant is not None and grant.covers(access)

    def _issue(self, user: str, scopes: Iterable[str]) -> str:
        """Return a new token for the part of *scopes* that *user* may have."""
        token = secrets.token_urlsafe(24)
        grant = _Grant(self._granted(user, scopes), time.monotonic() + self._expires_in, self._uses)
        with self._lock:
            self._grants[token] = grant
        return token

    def _granted(self, user: str, scopes: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return actions by repository; one text may name several scopes, separated by spaces."""
        granted: dict[str, frozenset[str]] = {}
        for scope in " ".join(scopes).split():
            found = _SCOPE.fullmatch(scope)
            if found is None:
                continue
            repository, requested = found[1], frozenset(found[2].split(","))
            allowed = self._allowed(user, repository)
            actions = allowed if "*" in requested else allowed & requested
            granted[repository] = granted.get(repository, frozenset()) | actions
        return granted

    def _allowed(self, user: str, repository: str) -> frozenset[str]:
        if callable(self._permissions):
            return frozenset(self._permissions(user, repository))
        return frozenset(self._permissions.get(user, {}).get(repository, ()))


def _token_of(request: web.BaseRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class TokenAuth(TokenIssuer):
    """Tokens from an endpoint on another origin, as Docker Hub does it. It listens while the registry runs.

    Args:
        users: Password by name.
        permissions: What a user may do in a repository; the user ``""`` is everybody without a password.
        expires_in: Seconds a token lives, as announced.
        expires_after_uses: How many requests a token is valid for, not announced; ``None`` for any number.
        access_token_key: Name the token ``access_token`` instead of ``token`` in responses to ``GET``.
        identity_tokens: User by identity token: ``POST`` with ``grant_type=refresh_token`` accepts them, and
            ``GET`` with ``offline_token=true`` issues a new one. ``None`` for an endpoint without OAuth2.
        same_origin: Serve the endpoint at ``/token`` of the registry instead of on an origin of its own.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        permissions: Permissions,
        *,
        expires_in: float = 300.0,
        expires_after_uses: int | None = None,
        access_token_key: bool = False,
        identity_tokens: Mapping[str, str] | None = None,
        same_origin: bool = False,
    ) -> None:
        super().__init__(permissions, expires_in, expires_after_uses)
        self._users = users
        self._key = "access_token" if access_token_key else "token"
        self._identities = None if identity_tokens is None else dict(identity_tokens)
        self._same_origin = same_origin
        self._port = 0

    def endpoints(self) -> Mapping[str, WebHandler]:
        return {"/token": self._respond} if self._same_origin else {}

    async def serving(self, tls: SSLContext | None) -> AsyncIterator[None]:
        if self._same_origin:
            yield
            return
        app = web.Application()
        app.router.add_route("*", "/token", self._respond)
        # The same port after a restart, as a token endpoint keeps its URL.
        async with listening(app, _LOOPBACK, self._port, tls) as self._port:
            self.realm: str = f"{'https' if tls else 'http'}://{_LOOPBACK}:{self._port}/token"
            yield

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            user = basic_user(request, self._users) if "Authorization" in request.headers else ""
            scopes, grant_type = tuple(request.query.getall("scope", [])), ""
            service, wants_identity = request.query.get("service", ""), request.query.get("offline_token") == "true"
        elif request.method == "POST" and self._identities is not None:
            form = {key: str(value) for key, value in (await request.post()).items()}
            user = self._user_of(form, self._identities)
            scopes, grant_type = tuple(form.get("scope", "").split()), form.get("grant_type") or "none"
            service, wants_identity = form.get("service", ""), form.get("access_type") == "offline"
        else:
            return web.Response(status=405)
        status = 401 if user is None else 200
        self.token_requests.append(TokenRequest(request.method, user or "", scopes, service, grant_type, status))
        if user is None:
            error = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            return web.json_response(error, status=401, headers={"WWW-Authenticate": 'Basic realm="tokens"'})
        body: dict[str, object] = {
            "access_token" if grant_type else self._key: self._issue(user, scopes),
            "expires_in": int(self._expires_in),
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if wants_identity and user and self._identities is not None:
            identity = secrets.token_urlsafe(24)
            self._identities[identity] = user
            body["refresh_token"] = identity
        return web.json_response(body)

    def _user_of(self, form: Mapping[str, str], identities: Mapping[str, str]) -> str | None:
        """Return the user of an OAuth2 request; ``None`` when the credentials are wrong."""
        name, password = form.get("username", ""), form.get("password", "")
        match form.get("grant_type"):
            case "refresh_token":
                return identities.get(form.get("refresh_token", ""))
            case "password" if name in self._users and secrets.compare_digest(self._users[name], password):
                return name
        return None


class SignedAuth(TokenIssuer):
    """Ollama's own scheme: a token for a request whose URL is signed with a known ed25519 key.

    The endpoint is ``/token`` on the registry's own origin, as Ollama demands since v0.14.3.

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
        self.token_requests.append(
            TokenRequest(request.method, user, scopes, request.query.get("service", ""), "", status)
        )
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
