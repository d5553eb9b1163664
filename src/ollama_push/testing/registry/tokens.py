"""Bearer tokens from an endpoint on another origin, as Docker Hub and most registries do it.

Source: distribution "Token Authentication Specification" and "Oauth2 Token Authentication".
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from ssl import SSLContext
from typing import Final

import attrs
from aiohttp import web

from ollama_push.testing.registry.auth import Access, Endpoint, basic_user
from ollama_push.testing.registry.grants import Grants, Permissions, granted_scopes

__all__ = ["TokenAuth", "TokenRequest"]

_LOOPBACK: Final = "127.0.0.1"


@attrs.frozen
class TokenRequest:
    """One request for a token, without its secrets.

    Attributes:
        method: ``GET``, or ``POST`` for OAuth2.
        user: Whom the endpoint took the client for; empty when anonymous or refused.
        scopes: As asked.
        service: As asked.
        grant_type: Of OAuth2: ``"refresh_token"``, ``"password"``; else empty.
        status: Of the answer.
    """

    method: str
    user: str
    scopes: tuple[str, ...]
    service: str
    grant_type: str
    status: int


class TokenAuth:
    """Token authentication. The endpoint listens while the registry runs.

    Args:
        users: Password by name.
        permissions: What a user may do in a repository; the user ``""`` is everybody without a password.
        expires_in: Seconds a token lives, as announced.
        expires_after_uses: Requests a token is good for; not announced.
        access_token_key: Answer ``access_token`` instead of ``token``.
        identity_tokens: User by identity token: ``POST`` with ``grant_type=refresh_token`` is taken, and a
            ``GET`` with ``offline_token=true`` given a new one. ``None`` for an endpoint without OAuth2.
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
        self._users = users
        self._permissions = permissions
        self._expires_in = expires_in
        self._key = "access_token" if access_token_key else "token"
        self._identities = None if identity_tokens is None else dict(identity_tokens)
        self._same_origin = same_origin
        self._grants = Grants(expires_in, expires_after_uses)
        self._lock = threading.Lock()
        self._requests: list[TokenRequest] = []
        self._realm = ""
        self._port = 0

    @property
    def token_requests(self) -> list[TokenRequest]:
        """What was asked of the endpoint so far."""
        with self._lock:
            return list(self._requests)

    @property
    def realm(self) -> str:
        """URL of the endpoint while it listens on an origin of its own; else empty."""
        return self._realm

    def expire_all(self) -> None:
        """Make every token given out so far worthless."""
        self._grants.expire_all()

    def check(self, request: web.BaseRequest, access: Access | None) -> None:
        self._grants.check(request, access, self._realm or f"{request.scheme}://{request.host}/token")

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        return self._grants.may(request, access)

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {"/token": self._answer} if self._same_origin else {}

    async def serving(self, tls: SSLContext | None) -> AsyncIterator[None]:
        if self._same_origin:
            yield
            return
        app = web.Application()
        app.router.add_route("*", "/token", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            # The same port after a restart: a token endpoint does not move.
            await web.TCPSite(runner, _LOOPBACK, self._port, ssl_context=tls).start()
            self._port = runner.addresses[0][1]
            self._realm = f"{'https' if tls else 'http'}://{_LOOPBACK}:{self._port}/token"
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return self._give(request, _Asked.by_get(request, self._users))
        if request.method == "POST" and self._identities is not None:
            form = {key: str(value) for key, value in (await request.post()).items()}
            return self._give(request, _Asked.by_post(form, self._users, self._identities))
        return web.Response(status=405)

    def _give(self, request: web.Request, asked: _Asked) -> web.Response:
        status = 401 if asked.user is None else 200
        seen = TokenRequest(
            request.method, asked.user or "", tuple(asked.scopes), asked.service, asked.grant_type, status
        )
        with self._lock:
            self._requests.append(seen)
        if asked.user is None:
            error = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            return web.json_response(error, status=401, headers={"WWW-Authenticate": 'Basic realm="tokens"'})
        scopes = granted_scopes(self._permissions, asked.user, asked.scopes)
        body: dict[str, object] = {
            "access_token" if asked.grant_type else self._key: self._grants.issue(scopes),
            "expires_in": int(self._expires_in),
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if asked.wants_identity and asked.user and self._identities is not None:
            identity = secrets.token_urlsafe(24)
            self._identities[identity] = asked.user
            body["refresh_token"] = identity
        return web.json_response(body)


@attrs.frozen
class _Asked:
    """A request for a token, whichever way it came; the user is ``None`` when the proof is wrong."""

    user: str | None
    scopes: Sequence[str]
    service: str
    grant_type: str = ""
    wants_identity: bool = False

    @classmethod
    def by_get(cls, request: web.Request, users: Mapping[str, str]) -> _Asked:
        user = basic_user(request, users) if "Authorization" in request.headers else ""
        wants = request.query.get("offline_token") == "true"
        return cls(user, request.query.getall("scope", []), request.query.get("service", ""), "", wants)

    @classmethod
    def by_post(cls, form: Mapping[str, str], users: Mapping[str, str], identities: Mapping[str, str]) -> _Asked:
        grant_type = form.get("grant_type", "")
        user: str | None = None
        if grant_type == "refresh_token":
            user = identities.get(form.get("refresh_token", ""))
        elif grant_type == "password":
            name = form.get("username", "")
            user = name if name in users and secrets.compare_digest(users[name], form.get("password", "")) else None
        wants = form.get("access_type") == "offline"
        return cls(user, form.get("scope", "").split(), form.get("service", ""), grant_type or "none", wants)
