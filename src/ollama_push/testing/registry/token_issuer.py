"""Tokens: opaque, bound to scopes, expiring by time and by use. What all schemes with tokens share."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import attrs
from aiohttp import web

from ollama_push.testing.registry.auth import Access
from ollama_push.testing.registry.refused import Refused

__all__ = ["Permissions", "TokenIssuer", "TokenRequest"]

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


class TokenIssuer:
    """Issues tokens and checks them: what a scheme with tokens inherits. Safe between threads.

    Args:
        permissions: What a user may do in a repository.
        expires_in: Seconds a token lives.
        expires_after_uses: How many requests a token is valid for; ``None`` for any number.
    """

    def __init__(self, permissions: Permissions, expires_in: float, expires_after_uses: int | None) -> None:
        self._permissions = permissions
        self._expires_in = expires_in
        self._uses = float("inf") if expires_after_uses is None else float(expires_after_uses)
        self._lock = threading.Lock()
        self._grants: dict[str, _Grant] = {}
        self._requests: list[TokenRequest] = []
        self._realm = ""

    @property
    def realm(self) -> str:
        """URL of the token endpoint while it listens on an origin of its own; else empty."""
        return self._realm

    @property
    def token_requests(self) -> list[TokenRequest]:
        """All requests for tokens so far."""
        with self._lock:
            return list(self._requests)

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
        realm = self._realm or f"{request.scheme}://{request.host}/token"
        scope = access.scope if access else ""
        parts = {"realm": realm, "service": request.host, "scope": scope, "error": error}
        shown = ",".join(f'{name}="{value}"' for name, value in parts.items() if value)
        raise Refused(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": f"Bearer {shown}"})

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        with self._lock:
            grant = self._grants.get(_token_of(request))
        return grant is not None and grant.covers(access)

    def _note(self, request: TokenRequest) -> None:
        with self._lock:
            self._requests.append(request)

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
