"""Which addresses a push may reach: what a name, a Location or a token realm must not be used for.

Who can reach the gateway could otherwise reach with it what only this machine can: cloud metadata above all.
Registries in private networks are what companies have and stay allowed.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import attrs

__all__ = ["AddressRules", "literal_address"]

Address = IPv4Address | IPv6Address

# Outside of link-local, but the cloud's all the same: AWS and Google over IPv6, Alibaba, Oracle, Azure.
_METADATA: Final = frozenset(
    map(
        ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
# An IPv4 address in the last 32 bits: RFC 6052, 2.1; RFC 8215; RFC 2765, 2.1 ("IPv4-translated").
_TRANSLATED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))


def literal_address(host: str) -> Address | None:
    """Return the address that *host* is, brackets and zone aside; ``None`` for a name.

    Also reads what the system takes for an IPv4 address: ``127.1``, ``0x7f000001``, ``2130706433``.
    """
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    with suppress(ValueError):
        return ip_address(bare)
    with suppress(OSError, UnicodeError, ValueError):
        return IPv4Address(socket.inet_aton(bare)) if bare and not any(map(str.isspace, bare)) else None
    return None


@attrs.frozen
class AddressRules:
    """What may be reached.

    Attributes:
        allowed: Hosts, ``"host"`` or ``"host:port"`` in lower case, that may be reached wherever they are.
        loopback: Whether this machine itself may be reached: not for clients from elsewhere.
    """

    allowed: Collection[str] = ()
    loopback: bool = True

    def allows_by_name(self, host: str, port: int | str | None) -> bool:
        """Say whether *host* is on the list, with this *port* or without one."""
        host = host.lower()
        return host in self.allowed or f"{host}:{port}" in self.allowed

    def problem(self, address: Address) -> str:
        """Say in a few words why *address* may not be reached; empty when it may."""
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
        # 240.0.0.0/4 and broadcast; of IPv6 also NAT64, which is looked into instead.
        if isinstance(address, IPv4Address) and address.is_reserved:
            return "a reserved address"
        return ""


def _inside(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 one stands for."""
    if isinstance(address, IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _TRANSLATED):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if int(address) >> 32 == 0 and int(address) > 1:  # RFC 4291, 2.5.5.1: "IPv4-compatible"
        found.append(IPv4Address(int(address)))
    return [each for each in found if each is not None]
