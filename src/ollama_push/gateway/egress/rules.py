"""Decides which addresses a push may reach, by a name, a Location or a token realm.

Otherwise clients could reach through the gateway what only its machine can reach: cloud metadata above all.
Registries in private networks are usual in companies and stay allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

import attrs

from ollama_push.core.hosts import DEFAULT_PORTS, AddressProblem

__all__ = ["AddressRules"]


@attrs.frozen
class AddressRules:
    """The addresses that may be reached.

    Attributes:
        allowed: Hosts, ``"host"`` or ``"host:port"`` in lower case, that may have any address.
        loopback: Whether this machine itself may be reached: not for clients from elsewhere.
    """

    allowed: Collection[str] = ()
    loopback: bool = True

    def allows_by_name(self, host: str, port: int | str | None) -> bool:
        """Return whether *host* is on the list, with this *port* or without one."""
        host = f"[{host.lower()}]" if ":" in host else host.lower()
        return host in self.allowed or f"{host}:{port}" in self.allowed

    def allows_url(self, url: str) -> bool:
        """Return whether the host of *url* is on the list, with the port of *url* or without one."""
        parts = urlsplit(url)
        try:
            port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:  # no number: the transport refuses it
            port = None
        return self.allows_by_name(parts.hostname or "", port)

    def forbidden(self, problems: Iterable[AddressProblem]) -> AddressProblem | None:
        """Return the first of the *problems* of an address that forbids to reach it; ``None`` when it may be."""
        return next((each for each in problems if not (self.loopback and each is AddressProblem.LOOPBACK)), None)
