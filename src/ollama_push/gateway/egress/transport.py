"""The transport of the gateway: checks every URL before it is opened, and the addresses that its host resolves to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ollama_push.client._lanes import Lane
from ollama_push.core.errors import ConnectFailed, PushRejected, RejectionReason
from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import AddressProblem, address_problems, host_problems, literal_address
from ollama_push.core.messages import PYTHON
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.gateway.egress.rules import AddressRules
from ollama_push.transports import AiohttpTransport

__all__ = ["EgressTransport", "GuardedResolver", "forbidden_url", "new_egress_transport"]

_DNS_THREADS: Final = 64
"""As many as pushes by default: each waits for one name at a time."""


def new_egress_transport(rules: AddressRules, **certificates: Any) -> EgressTransport:
    """Return the transport of one gateway. Needs a running loop; :meth:`EgressTransport.aclose` closes all of it.

    Args:
        rules: The addresses that may be reached.
        certificates: ``ca_file`` and ``client_cert`` of ``AiohttpTransport``.

    Raises:
        InvalidSetting: A certificate cannot be used.
    """
    resolver = GuardedResolver(rules)
    return EgressTransport(rules, resolver, AiohttpTransport(resolver=resolver, **certificates))


def forbidden_url(rules: AddressRules, url: str) -> ForbiddenAddress | None:
    """Return why the host of *url* may not be reached; ``None`` when it may, or when only DNS can tell."""
    if rules.allows_url(url):
        return None
    host = urlsplit(url).hostname or ""
    problem = rules.forbidden(host_problems(host, names=False))
    return None if problem is None else ForbiddenAddress(host, problem)


class AddressForbidden(OSError):
    """No address of a name may be reached. An ``OSError``, because aiohttp expects that of a resolver.

    Args:
        facts: The name, and what is wrong with its first address.
    """

    def __init__(self, facts: ForbiddenAddress) -> None:
        super().__init__(f"{facts.host} is {PYTHON.address(facts.problem)}")
        self.facts = facts


class _LookUps:
    """The look-ups of an event loop, in threads of their own."""

    def __init__(self) -> None:
        self.lane: Lane = Lane("dns", _DNS_THREADS)

    async def getaddrinfo(self, host: str, port: int, **more: int) -> Any:
        return await self.lane.run(socket.getaddrinfo, host, port, **more)

    async def getnameinfo(self, address: tuple[str, int], flags: int) -> tuple[str, str]:
        return await self.lane.run(socket.getnameinfo, address, flags)


class GuardedResolver(AbstractResolver):
    """Resolves names, and leaves out addresses that may not be reached. aiohttp connects to no others.

    Args:
        rules: The addresses that may be reached.
        inner: Resolves the names; when not given, the system does, in threads that nothing else uses: a client may
            name hosts whose name servers are slow.
    """

    def __init__(self, rules: AddressRules, inner: AbstractResolver | None = None) -> None:
        self._rules = rules
        self._lookups = _LookUps()
        # It asks the loop for these two functions only (aiohttp 3.13 to 3.14, resolver.py).
        self._inner = inner or aiohttp.ThreadedResolver(cast("asyncio.AbstractEventLoop", self._lookups))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if self._rules.allows_by_name(host, port):
            return found
        problems = [self._problem(result["host"]) for result in found]
        allowed = [result for result, problem in zip(found, problems, strict=True) if problem is None]
        if found and not allowed and (problem := problems[0]) is not None:
            raise AddressForbidden(ForbiddenAddress(host, problem))
        return allowed

    async def close(self) -> None:
        await self._inner.close()
        self._lookups.lane.retire()

    def _problem(self, host: str) -> AddressProblem | None:
        address = literal_address(host)
        return AddressProblem.NOT_A_HOST if address is None else self._rules.forbidden(address_problems(address))


class EgressTransport:
    """Opens the URLs that the rules allow.

    Args:
        rules: The addresses that may be reached.
        resolver: Resolves names for *inner*; closed with the transport.
        inner: Sends the requests; closed with the transport. Where it uses a proxy of the environment, the proxy
            resolves names, and decides which addresses may be reached.
    """

    def __init__(self, rules: AddressRules, resolver: GuardedResolver, inner: AsyncTransport) -> None:
        self._rules = rules
        self._resolver = resolver
        self._inner = inner

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[AsyncResponse]:
        """Send *request* and hold its response; see :mod:`ollama_push.core.ports`.

        Raises:
            PushRejected: The URL may not be reached. It is no ``TransportError``: trying again would not help.
        """
        if (problem := forbidden_url(self._rules, request.url)) is not None:
            raise _refused(problem)
        try:
            async with self._inner.open(request) as response:
                yield response
        except ConnectFailed as exc:
            if (forbidden := _forbidden_in(exc)) is None:
                raise
            raise _refused(forbidden.facts) from exc

    async def aclose(self) -> None:
        """Close the transport and the resolver. Idempotent."""
        await self._inner.aclose()
        await self._resolver.close()


def _forbidden_in(exc: BaseException | None) -> AddressForbidden | None:
    """Return the resolver's error from the chain of errors that aiohttp and its adapter made of it."""
    while exc is not None:
        wrapped = getattr(exc, "os_error", None)
        for each in (exc, wrapped):
            if isinstance(each, AddressForbidden):
                return each
        exc = exc.__cause__ or exc.__context__
    return None


def _refused(facts: ForbiddenAddress) -> PushRejected:
    return PushRejected("", RejectionReason.UNKNOWN, facts)
