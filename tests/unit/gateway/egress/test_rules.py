"""Which addresses are which, however they are written."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import AddressProblem, address_problems
from ollama_push.gateway.egress.rules import AddressRules
from ollama_push.gateway.egress.transport import AddressForbidden, GuardedResolver, forbidden_url


def problem(text: str, *, loopback: bool) -> AddressProblem | None:
    return AddressRules(loopback=loopback).forbidden(address_problems(ip_address(text)))


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "::ffff:0:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
    ],
)
def test_nobody_reaches_metadata_and_the_like(text: str) -> None:
    assert problem(text, loopback=True)
    assert problem(text, loopback=False)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "fd12::1", "8.8.8.8", "2001:4860:4860::8888", "100.64.0.1"]
)
def test_registries_in_private_and_public_networks_are_reached(text: str) -> None:
    assert problem(text, loopback=False) is None


@pytest.mark.parametrize(
    "host", ["\uff11\uff12\uff17.1", "127\u30020\u30020\u30021", "%31", "a\\b", "b\u00fccher.example"]
)
def test_a_host_that_libraries_read_differently_is_not_reached(host: str) -> None:
    assert forbidden_url(AddressRules(), f"https://{host}/") == ForbiddenAddress(host, AddressProblem.NOT_A_HOST)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_for_those_on_this_machine(text: str) -> None:
    assert problem(text, loopback=True) is None
    assert problem(text, loopback=False) is AddressProblem.LOOPBACK


def test_a_host_on_the_list_may_be_anywhere() -> None:
    rules = AddressRules(frozenset({"169.254.1.1:5000", "127.0.0.1"}), loopback=False)
    assert forbidden_url(rules, "http://169.254.1.1:5000/v2/") is None
    assert forbidden_url(rules, "http://127.0.0.1:1") is None
    assert forbidden_url(rules, "http://169.254.1.1/x") == ForbiddenAddress("169.254.1.1", AddressProblem.LINK_LOCAL)
    assert forbidden_url(rules, "https://registry.example.com") is None
    usual = AddressRules(frozenset({"169.254.1.1:443"}))
    assert forbidden_url(usual, "https://169.254.1.1/v2/") is None
    assert forbidden_url(usual, "http://169.254.1.1/v2/")


class Book(AbstractResolver):
    """Knows the addresses it was given."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self._addresses
        ]

    async def close(self) -> None:
        return


def resolved(rules: AddressRules, *addresses: str) -> list[str]:
    async def ask() -> list[str]:
        resolver = GuardedResolver(rules, Book(*addresses))
        try:
            return [found["host"] for found in await resolver.resolve("a.example.com", 443)]
        finally:
            await resolver.close()

    return asyncio.run(ask())


def test_what_a_name_resolves_to_is_sifted() -> None:
    assert resolved(AddressRules(), "169.254.169.254", "10.0.0.1", "fe80::1%2") == ["10.0.0.1"]
    assert resolved(AddressRules(frozenset({"a.example.com"})), "169.254.169.254") == ["169.254.169.254"]
    assert resolved(AddressRules()) == []
    with pytest.raises(AddressForbidden, match=r"a\.example\.com is a link-local"):
        resolved(AddressRules(), "169.254.169.254")
