"""Decides which addresses a push may reach, by a name, a Location or a token realm.

Otherwise clients could reach through the gateway what only its machine can reach: cloud metadata above all.
Registries in private networks are usual in companies and stay allowed.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.hosts import DEFAULT_PORTS

__all__ = ["AddressRules", "literal_address"]

Address = IPv4Address | IPv6Address

# Metadata addresses that are not link-local: AWS and Google over IPv6, Alibaba, Oracle, Azure.
_METADATA: Final = frozenset(
    map(
        ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
# An IPv4 address in the last 32 bits: RFC 6052, 2.1; RFC 8215; RFC 2765, 2.1 ("IPv4-translated").
_TRANSLATED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))


def literal_address(host: str) -> Address | None:
    """Return the address that *host* is, without brackets and zone; ``None`` for a name.

    Also reads the other forms of IPv4 addresses that the system takes: ``127.1``, ``0x7f000001``, ``2130706433``.
    """
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    with suppress(ValueError):
        return ip_address(bare)
    with suppress(OSError, UnicodeError, ValueError):
        return IPv4Address(socket.inet_aton(bare)) if bare and not any(map(str.isspace, bare)) else None
    return None


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
        host = host.lower()
        return host in self.allowed or f"{host}:{port}" in self.allowed

    def allows_url(self, url: str) -> bool:
        """Return whether the host of *url* is on the list, with the port of *url* or without one."""
        parts = urlsplit(url)
        try:
            port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:  # no number: the transport refuses it
            port = None
        return self.allows_by_name(parts.hostname or "", port)

    def problem(self, address: Address) -> str:
        """Return in a few words why *address* may not be reached; empty when it may."""
        return next(filter(None, map(self._problem, (address, *_inside(address)))), "")

    def _problem(self, address: Address) -> str:
        if address in _METADATA:
            return "a metadata address"
        if address.is_link_local:
            return "a link-local address, where clouds keep their metadata"
        if address.is_unspecified or (isinstance(address, IPv4Address) and int(address) >> 24 == 0):
            return "an unspecified address"
        if address.is_multicast:
            return "a multicast address"
        if address.is_loopback:
            return "" if self.loopback else "an address of the gateway's own machine"
        # 240.0.0.0/4 and broadcast. In IPv6, is_reserved includes NAT64, whose inner address decides instead.
        if isinstance(address, IPv4Address) and address.is_reserved:
            return "a reserved address"
        return ""


def _inside(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 address embeds."""
    if isinstance(address, IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _TRANSLATED):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if int(address) >> 32 == 0 and int(address) > 1:  # RFC 4291, 2.5.5.1: "IPv4-compatible"
        found.append(IPv4Address(int(address)))
    return [each for each in found if each is not None]
