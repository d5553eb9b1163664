"""Bearer tokens from an endpoint on another origin, as Docker Hub and most registries do it.

Source: distribution "Token Authentication Specification" and "Oauth2 Token Authentication".
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from ssl import SSLContext
from typing import Final

import attrs
from aiohttp import web

from ollama_push.testing.registry.auth import WebHandler, basic_user
from ollama_push.testing.registry.token_issuer import Permissions, TokenIssuer, TokenRequest

__all__ = ["TokenAuth"]

_LOOPBACK: Final = "127.0.0.1"


class TokenAuth(TokenIssuer):
    """Token authentication. The endpoint listens while the registry runs.

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
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            # The same port after a restart, as a token endpoint keeps its URL.
            await web.TCPSite(runner, _LOOPBACK, self._port, ssl_context=tls).start()
            self._port = runner.addresses[0][1]
            self._realm = f"{'https' if tls else 'http'}://{_LOOPBACK}:{self._port}/token"
            yield
        finally:
            await runner.cleanup()

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return self._respond_to(request, _Wanted.by_get(request, self._users))
        if request.method == "POST" and self._identities is not None:
            form = {key: str(value) for key, value in (await request.post()).items()}
            return self._respond_to(request, _Wanted.by_post(form, self._users, self._identities))
        return web.Response(status=405)

    def _respond_to(self, request: web.Request, wanted: _Wanted) -> web.Response:
        user, scopes = wanted.user, tuple(wanted.scopes)
        status = 401 if user is None else 200
        self._note(TokenRequest(request.method, user or "", scopes, wanted.service, wanted.grant_type, status))
        if user is None:
            error = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            return web.json_response(error, status=401, headers={"WWW-Authenticate": 'Basic realm="tokens"'})
        body: dict[str, object] = {
            "access_token" if wanted.grant_type else self._key: self._issue(user, scopes),
            "expires_in": int(self._expires_in),
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if wanted.identity_token and user and self._identities is not None:
            identity = secrets.token_urlsafe(24)
            self._identities[identity] = user
            body["refresh_token"] = identity
        return web.json_response(body)


@attrs.frozen
class _Wanted:
    """What a request for a token asks for; the user is ``None`` when the credentials are wrong."""

    user: str | None
    scopes: Sequence[str]
    service: str
    grant_type: str = ""
    identity_token: bool = False

    @classmethod
    def by_get(cls, request: web.Request, users: Mapping[str, str]) -> _Wanted:
        user = basic_user(request, users) if "Authorization" in request.headers else ""
        identity_token = request.query.get("offline_token") == "true"
        return cls(user, request.query.getall("scope", []), request.query.get("service", ""), "", identity_token)

    @classmethod
    def by_post(cls, form: Mapping[str, str], users: Mapping[str, str], identities: Mapping[str, str]) -> _Wanted:
        grant_type = form.get("grant_type", "")
        user: str | None = None
        if grant_type == "refresh_token":
            user = identities.get(form.get("refresh_token", ""))
        elif grant_type == "password":
            name = form.get("username", "")
            user = name if name in users and secrets.compare_digest(users[name], form.get("password", "")) else None
        identity_token = form.get("access_type") == "offline"
        return cls(user, form.get("scope", "").split(), form.get("service", ""), grant_type or "none", identity_token)
