"""Who may do what: the port that every authentication scheme implements, and Basic; and how a server listens."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Final, Protocol

import attrs
from aiohttp import web

from ollama_push.testing.registry.refused import Refused

__all__ = ["Access", "Auth", "BasicAuth", "WebHandler", "basic_user", "listening"]

_SHUTDOWN_SECONDS: Final = 1.0
"""How long a request may take to end when a server stops."""

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""A request handler of aiohttp."""


@attrs.frozen
class Access:
    """What a request needs.

    Attributes:
        repository: Name of the repository.
        actions: Of ``"pull"``, ``"push"``, ``"delete"``.
    """

    repository: str
    actions: frozenset[str]

    @property
    def scope(self) -> str:
        """As in a challenge: ``repository:NAME:pull,push``."""
        return f"repository:{self.repository}:{','.join(sorted(self.actions))}"


class Auth(Protocol):
    """An authentication scheme; those without an endpoint of their own inherit the methods about it."""

    def check(self, request: web.BaseRequest, access: Access | None) -> None:
        """Check that *request* allows *access*; ``None`` where a login is enough (``GET /v2/``).

        Raises:
            Refused: 401 with a challenge.
        """
        ...

    def may(self, request: web.BaseRequest, access: Access) -> bool:
        """Say whether *request* also allows *access*; unlike :meth:`check` this does not count as a use."""
        ...

    def endpoints(self) -> Mapping[str, WebHandler]:
        """Return handlers by path that the registry's own origin serves without authorization."""
        return {}

    async def serving(self, tls: SSLContext | None) -> AsyncIterator[None]:  # noqa: ARG002 - for those that listen
        """Run what else must listen, from before the only ``yield`` until after it."""
        yield


@asynccontextmanager
async def listening(app: web.Application, address: str, port: int, tls: SSLContext | None) -> AsyncIterator[int]:
    """Serve *app* and give the port it listens on."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    try:
        await runner.setup()
        await web.TCPSite(runner, address, port, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def basic_user(request: web.BaseRequest, users: Mapping[str, str]) -> str | None:
    """Return the user of a valid Basic ``Authorization``; ``None`` when it is missing or wrong."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    known = user in users and hmac.compare_digest(users[user].encode(), password.encode())
    return user if known else None


@attrs.frozen
class BasicAuth(Auth):
    """User names and passwords, as with htpasswd: a known user may do everything.

    Attributes:
        users: Password by name.
        realm: Realm of the challenge.

    Source: RFC 7617.
    """

    users: Mapping[str, str] = attrs.field(repr=lambda users: repr(sorted(users)))
    realm: str = "embedded registry"

    def check(self, request: web.BaseRequest, access: Access | None) -> None:  # noqa: ARG002 - see Auth
        if basic_user(request, self.users) is None:
            challenge = {"WWW-Authenticate": f'Basic realm="{self.realm}"'}
            raise Refused(401, "UNAUTHORIZED", "authentication required", challenge)

    def may(self, request: web.BaseRequest, access: Access) -> bool:  # noqa: ARG002 - see Auth
        return basic_user(request, self.users) is not None
