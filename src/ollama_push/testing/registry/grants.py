"""Tokens that were given out: opaque, bound to scopes, expiring by time and by use."""

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

__all__ = ["Grants", "Permissions", "allowed", "granted_scopes"]

Permissions = Callable[[str, str], Collection[str]] | Mapping[str, Mapping[str, Collection[str]]]
"""Actions by user (``""`` when anonymous) and repository, as a function or as nested mappings."""

_SCOPE: Final = re.compile(r"repository:([^:]+):([a-z,*]*)")


@attrs.define
class _Grant:
    scopes: Mapping[str, frozenset[str]]
    expires_at: float
    uses_left: float

    def covers(self, access: Access) -> bool:
        return access.actions <= self.scopes.get(access.repository, frozenset())


class Grants:
    """The tokens one endpoint gave out. Safe between threads.

    Args:
        expires_in: Seconds a token lives.
        expires_after_uses: Requests a token is good for; ``None`` for any number.
    """

    def __init__(self, expires_in: float, expires_after_uses: int | None = None) -> None:
        self._lock = threading.Lock()
        self._grants: dict[str, _Grant] = {}
        self._expires_in = expires_in
        self._uses = float("inf") if expires_after_uses is None else float(expires_after_uses)

    def issue(self, scopes: Mapping[str, frozenset[str]]) -> str:
        """Return a new token for *scopes*: actions by repository."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._grants[token] = _Grant(scopes, time.monotonic() + self._expires_in, self._uses)
        return token

    def expire_all(self) -> None:
        """Make every token given out so far worthless."""
        with self._lock:
            self._grants.clear()

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        """Say whether the token of *request* allows *access*; uses nothing up."""
        with self._lock:
            grant = self._grants.get(_token_of(request))
        return grant is not None and grant.covers(access)

    def check(self, request: web.BaseRequest, access: Access | None, realm: str) -> None:
        """Use the token of *request* for *access*.

        Raises:
            Refused: 401 with a Bearer challenge that names *realm* and the scope.
        """
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
        parts = {"realm": realm, "service": request.host, "scope": access.scope if access else "", "error": error}
        shown = ",".join(f'{name}="{value}"' for name, value in parts.items() if value)
        raise Refused(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": f"Bearer {shown}"})


def allowed(permissions: Permissions, user: str, repository: str) -> frozenset[str]:
    """Return what *user* may do in *repository*."""
    if callable(permissions):
        return frozenset(permissions(user, repository))
    return frozenset(permissions.get(user, {}).get(repository, ()))


def granted_scopes(permissions: Permissions, user: str, scopes: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return of the *scopes* asked for what *user* may have; several may stand in one text, spaces between."""
    granted: dict[str, frozenset[str]] = {}
    for scope in " ".join(scopes).split():
        found = _SCOPE.fullmatch(scope)
        if found is None:
            continue
        repository, asked = found[1], frozenset(found[2].split(","))
        has = allowed(permissions, user, repository)
        granted[repository] = granted.get(repository, frozenset()) | (has if "*" in asked else has & asked)
    return granted


def _token_of(request: web.BaseRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
