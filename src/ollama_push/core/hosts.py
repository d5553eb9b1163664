"""What is known of a host or a URL from its text alone, and which hosts must not be reached for somebody else.

A registry names addresses: of uploads, of the realm for tokens. It must not lead to what only this machine can
reach, in whatever way it spells that.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

__all__ = [
    "DEFAULT_PORTS",
    "Address",
    "AddressProblem",
    "address_problems",
    "host_problems",
    "is_loopback",
    "is_ollama_cloud",
    "literal_address",
    "origin_of",
]

Address = IPv4Address | IPv6Address


class AddressProblem(enum.Enum):
    """Why a host must not be reached because somebody else names it."""

    METADATA = "metadata"
    """The metadata of a cloud, which hold credentials."""
    LINK_LOCAL = "link-local"
    UNSPECIFIED = "unspecified"
    MULTICAST = "multicast"
    RESERVED = "reserved"
    LOOPBACK = "loopback"
    """The machine that this program runs on."""
    NOT_A_HOST = "not-a-host"
    """Neither an address nor a name in ASCII: libraries disagree on what it means."""
    PLAIN_HTTP = "plain-http"
    """Plain HTTP, named by a registry that is reached by TLS."""


DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
"""The port of a URL that names none (RFC 9110, 4.2.1 and 4.2.2)."""

# RFC 1123, 2.1, and underscores, which are seen in container networks.
_NAME: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
# One part of inet_aton(3): hexadecimal, octal or decimal.
_NUMBER: Final = re.compile(r"0[xX][0-9A-Fa-f]+|[0-9]+")
_MOST_NUMBERS: Final = 4
# Besides RFC 6761, 6.3: what Debian and Red Hat put into /etc/hosts.
_LOOPBACK_NAMES: Final = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}
)
_METADATA_NAMES: Final = frozenset({"metadata.google.internal", "metadata.goog", "instance-data"})
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
    parts = bare.split(".")
    if len(parts) > _MOST_NUMBERS or not all(map(_NUMBER.fullmatch, parts)):
        return None
    # ValueError: an octal number with an 8 or 9. OverflowError: a number that is too large for its bytes.
    with suppress(ValueError, OverflowError):
        *first, last = map(_number, parts)
        # The last number fills the bytes that are left.
        return IPv4Address(bytes(first) + last.to_bytes(4 - len(first), "big"))
    return None


def address_problems(address: Address) -> Iterator[AddressProblem]:
    """Yield what is wrong with reaching *address*, or an IPv4 address in it, for somebody else."""
    for each in (address, *_inside(address)):
        if (problem := _problem(each)) is not None:
            yield problem


def host_problems(host: str, *, names: bool = True) -> Iterator[AddressProblem]:
    """Yield what is wrong with reaching *host* for somebody else, as far as its text tells.

    Args:
        host: A name or an address, brackets optional.
        names: Whether names are known by what they usually lead to; not needed where the caller checks that.
    """
    bare = host.removeprefix("[").removesuffix("]").removesuffix(".").lower()
    address = literal_address(bare)
    if address is not None:
        yield from address_problems(address)
    elif not _NAME.fullmatch(bare):
        # Full-width digits and other full stops become ASCII in some libraries (IDNA, UTS #46), and percent
        # escapes and backslashes something else.
        yield AddressProblem.NOT_A_HOST
    elif names and (bare in _LOOPBACK_NAMES or bare.endswith(".localhost")):
        yield AddressProblem.LOOPBACK
    elif names and bare in _METADATA_NAMES:
        yield AddressProblem.METADATA


def is_loopback(host: str) -> bool:
    """Say whether *host* (a name or address, brackets optional) is this machine by definition."""
    bare = host.strip("[]").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ip_address(bare).is_loopback
    except ValueError:
        return False


def is_ollama_cloud(host: str) -> bool:
    """Say whether a registry *host* is Ollama's own (ollama ``cmd/cmd.go``, v0.12.3+)."""
    name = host.partition(":")[0].lower()
    return name.endswith((".ollama.ai", ".ollama.com")) or name in {"ollama.ai", "ollama.com"}


def origin_of(url: str) -> str:
    """Return scheme, host and port of *url*: what may be shown, and what credentials belong to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text, 16)
    return int(text, 8 if text.startswith("0") else 10)


def _problem(address: Address) -> AddressProblem | None:
    if address in _METADATA:
        return AddressProblem.METADATA
    if address.is_link_local:
        return AddressProblem.LINK_LOCAL
    if address.is_unspecified or (isinstance(address, IPv4Address) and int(address) >> 24 == 0):
        return AddressProblem.UNSPECIFIED
    if address.is_multicast:
        return AddressProblem.MULTICAST
    if address.is_loopback:
        return AddressProblem.LOOPBACK
    # 240.0.0.0/4 and broadcast. In IPv6, is_reserved includes NAT64, whose inner address decides instead.
    if isinstance(address, IPv4Address) and address.is_reserved:
        return AddressProblem.RESERVED
    return None


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
