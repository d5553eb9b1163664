"""The registries of a gateway: whose tokens are kept, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from ollama_push import Login
from ollama_push.core.errors import TransportTimeout
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.credentials import GivenCredential
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.gateway import GatewaySettings
from ollama_push.gateway.pull.upstream import Upstream
from ollama_push.local import ModelStore

SETTINGS = GatewaySettings(store=ModelStore(Path("/nowhere")), stall_timeout=0.05)


@attrs.define
class Response:
    status: int
    headers: dict[str, str]
    body: tuple[bytes, ...] = ()
    ends: bool = True

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.body:
            yield piece
        if not self.ends:
            await asyncio.Event().wait()


@attrs.define(eq=False)
class Registry:
    """A transport that is a registry with a login for everything."""

    ends: bool = True
    shown: list[str] = attrs.field(factory=list)

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[Response]:
        proof = request.headers.get("Authorization", "")
        self.shown.append(proof)
        if not proof:
            yield Response(401, {"www-authenticate": "Basic realm=r"})
        else:
            yield Response(200, {}, (b"a", b"b"), self.ends)

    async def aclose(self) -> None:
        """Close nothing."""


def endpoint(number: int = 0) -> Endpoint:
    return Endpoint("reg.test", "https://reg.test", f"team/model{number}")


async def ask(upstream: Upstream, number: int = 0, login: Login | None = None) -> bytes:
    where = endpoint(number)
    return (await upstream.ask(where, "GET", where.manifest("v1"), login, {})).body


def test_a_login_is_shown_at_once_after_it_was_asked_for() -> None:
    async def main() -> list[str]:
        registry = Registry()
        upstream = Upstream(SETTINGS, registry, GivenCredential(Login("own", "s3cret")))
        assert await ask(upstream) == await ask(upstream) == b"ab"
        await ask(upstream, login=Login("ann", "other"))
        return registry.shown

    shown = asyncio.run(main())
    assert [bool(each) for each in shown] == [False, True, True, False, True]
    assert len(set(shown)) == 3


def test_no_more_identities_are_kept_than_a_few_hundred() -> None:
    async def main() -> int:
        registry = Registry()
        upstream = Upstream(SETTINGS, registry, GivenCredential(Login("own", "s3cret")))
        for number in range(257):
            await ask(upstream, number)
        before = len(registry.shown)
        await ask(upstream, 256)
        await ask(upstream, 0)
        return len(registry.shown) - before

    assert asyncio.run(main()) == 3


def test_a_manifest_that_does_not_end_is_given_up() -> None:
    async def main() -> None:
        upstream = Upstream(SETTINGS, Registry(ends=False), GivenCredential(Login("own", "s3cret")))
        with pytest.raises(TransportTimeout):
            await ask(upstream)

    asyncio.run(main())
