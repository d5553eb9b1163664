"""The transport of the gateway: every URL is looked at before it is opened, and so is what its host resolves to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ollama_push.core.errors import ConnectFailed, PushRejected, RejectionReason
from ollama_push.core.ports import AsyncResponse, AsyncTransport, HttpRequest
from ollama_push.gateway.addresses import AddressRules, literal_address
from ollama_push.transports import AiohttpTransport
from ollama_push.transports._proxies import proxy_for
from ollama_push.transports._tls import build_tls_context

__all__ = ["GuardedResolver", "GuardedTransport", "forbidden_host", "new_transport"]

# As AiohttpTransport has them when it makes its own session.
_MAX_HEADER_BYTES: Final = 65_536
_CLOSING_TURNS: Final = 50
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


def new_transport(rules: AddressRules, ca_file: str | PathLike[str] | None = None) -> GuardedTransport:
    """Return the transport of one gateway. Needs a running loop; :meth:`GuardedTransport.aclose` closes all of it.

    Raises:
        InvalidSetting: *ca_file* cannot be used.
    """
    tls = True if ca_file is None else build_tls_context(ca_file, None)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls, resolver=GuardedResolver(rules)),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
    )
    session._retry_connection = False  # noqa: SLF001 - when to retry is the flow's to decide; there is no public switch
    return GuardedTransport(rules, session, AiohttpTransport(session), AiohttpTransport(ca_file=ca_file))


def forbidden_host(rules: AddressRules, host: str, port: int | None) -> str:
    """Say why *host* as written may not be reached; empty when it may, or when only DNS can tell."""
    if rules.allows_by_name(host, port):
        return ""
    address = literal_address(host)
    problem = "" if address is None else rules.problem(address)
    return f"{host} is {problem}" if problem else ""


class AddressForbiddenError(OSError):
    """All that a name resolves to may not be reached; an ``OSError``, which is what aiohttp expects of a resolver."""


class GuardedResolver(AbstractResolver):
    """Resolves names, and leaves out what may not be reached. What is checked is what is connected to.

    Args:
        rules: What may be reached.
        inner: Does the resolving; aiohttp's default one when not given.
    """

    def __init__(self, rules: AddressRules, inner: AbstractResolver | None = None) -> None:
        self._rules = rules
        self._inner = inner or aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if self._rules.allows_by_name(host, port):
            return found
        problems = [self._problem(result["host"]) for result in found]
        allowed = [result for result, problem in zip(found, problems, strict=True) if not problem]
        if found and not allowed:
            raise AddressForbiddenError(f"{host} is {problems[0]}")
        return allowed

    async def close(self) -> None:
        await self._inner.close()

    def _problem(self, host: str) -> str:
        address = literal_address(host)
        return "no address" if address is None else self._rules.problem(address)


class GuardedTransport:
    """Opens what the rules allow.

    Args:
        rules: What may be reached.
        session: Closed with the transport.
        direct: Uses *session*, whose resolver is a :class:`GuardedResolver`.
        proxied: Uses the environment's proxies. They resolve names themselves: what a name means is then theirs
            to allow.
    """

    def __init__(
        self,
        rules: AddressRules,
        session: aiohttp.ClientSession,
        direct: AsyncTransport,
        proxied: AsyncTransport,
    ) -> None:
        self._rules = rules
        self._session = session
        self._direct = direct
        self._proxied = proxied

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[AsyncResponse]:
        """Send *request* and hold its answer; see :mod:`ollama_push.core.ports`.

        Raises:
            PushRejected: The URL may not be reached. It is no ``TransportError``: trying again would not help.
        """
        parts = urlsplit(request.url)
        if problem := forbidden_host(self._rules, parts.hostname or "", _port_of(request.url)):
            raise _refused(problem)
        transport = self._direct if proxy_for(request.url) is None else self._proxied
        try:
            async with transport.open(request) as response:
                yield response
        except ConnectFailed as exc:
            if (forbidden := _forbidden_in(exc)) is None:
                raise
            raise _refused(str(forbidden)) from exc

    async def aclose(self) -> None:
        """Close everything. Idempotent."""
        await self._direct.aclose()
        await self._session.close()
        await self._proxied.aclose()
        # asyncio closes sockets later than it is told to.
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(0)


def _port_of(url: str) -> int | None:
    parts = urlsplit(url)
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # the transport will say so
        return None


def _forbidden_in(exc: BaseException | None) -> AddressForbiddenError | None:
    """Find what our resolver said behind what aiohttp and the adapter made of it."""
    while exc is not None:
        wrapped = getattr(exc, "os_error", None)
        for each in (exc, wrapped):
            if isinstance(each, AddressForbiddenError):
                return each
        exc = exc.__cause__ or exc.__context__
    return None


def _refused(problem: str) -> PushRejected:
    return PushRejected(f"this gateway does not go there: {problem}", RejectionReason.UNAUTHORIZED)
