"""Which hosts are which, however they are written, and which must not be reached for somebody else."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.hosts import (
    AddressProblem,
    address_problems,
    host_problems,
    is_loopback,
    is_ollama_cloud,
    literal_address,
    origin_of,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("1.2.772", "1.2.3.4"),
        ("000000000000000000000000000177.1", "127.0.0.1"),
        ("0X7F000001", "127.0.0.1"),
    ],
)
def test_an_address_is_recognised_in_every_spelling(text: str, address: str) -> None:
    assert literal_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "a.example.com",
        "1.2.3.4.5",
        "1.2.3.4 x",
        "0x",
        "09.1",
        "4294967296",
        "1.2.3.256",
        "256.1",
        "1..2",
        "\u00e9.example.com",
    ],
)
def test_a_name_is_no_address(text: str) -> None:
    assert literal_address(text) is None


_numbers = st.integers(0, 2**33).flatmap(lambda n: st.sampled_from([f"{n}", f"{n:#x}", f"0{n:o}", f"00{n}"]))
_small = st.integers(0, 300).flatmap(lambda n: st.sampled_from([f"{n}", f"{n:#X}", f"0{n:o}", f"0{n}"]))


@given(st.lists(_small | _numbers, min_size=1, max_size=5).map(".".join))
def test_numbers_are_the_address_that_the_system_takes_them_for(text: str) -> None:
    try:
        expected = ip_address(socket.inet_aton(text))
    except OSError:
        expected = None
    assert literal_address(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("169.254.169.254", AddressProblem.LINK_LOCAL),
        ("fe80::1", AddressProblem.LINK_LOCAL),
        ("fd00:ec2::254", AddressProblem.METADATA),
        ("100.100.100.200", AddressProblem.METADATA),
        ("0.0.0.0", AddressProblem.UNSPECIFIED),
        ("0.1.2.3", AddressProblem.UNSPECIFIED),
        ("::", AddressProblem.UNSPECIFIED),
        ("224.0.0.1", AddressProblem.MULTICAST),
        ("ff02::1", AddressProblem.MULTICAST),
        ("240.0.0.1", AddressProblem.RESERVED),
        ("::1", AddressProblem.LOOPBACK),
        ("::ffff:127.0.0.1", AddressProblem.LOOPBACK),
        ("64:ff9b::a9fe:a9fe", AddressProblem.LINK_LOCAL),
        ("2002:a9fe:a9fe::1", AddressProblem.LINK_LOCAL),
        ("::169.254.169.254", AddressProblem.LINK_LOCAL),
    ],
)
def test_an_address_has_the_problem_of_its_kind_and_of_what_it_embeds(text: str, problem: AddressProblem) -> None:
    assert problem in address_problems(ip_address(text))
    assert problem in host_problems(f"[{text}]" if ":" in text else text)


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("localhost", AddressProblem.LOOPBACK),
        ("LocalHost.", AddressProblem.LOOPBACK),
        ("a.localhost", AddressProblem.LOOPBACK),
        ("ip6-localhost", AddressProblem.LOOPBACK),
        ("127.1", AddressProblem.LOOPBACK),
        ("127.0.0.1.", AddressProblem.LOOPBACK),
        ("metadata.google.internal", AddressProblem.METADATA),
        ("\uff11\uff12\uff17.0.0.1", AddressProblem.NOT_A_HOST),
        ("127\u30020\u30020\u30021", AddressProblem.NOT_A_HOST),
        ("b\u00fccher.example", AddressProblem.NOT_A_HOST),
        ("%6cocalhost", AddressProblem.NOT_A_HOST),
        ("a\\b.example", AddressProblem.NOT_A_HOST),
        ("a b", AddressProblem.NOT_A_HOST),
        ("a..b", AddressProblem.NOT_A_HOST),
        ("", AddressProblem.NOT_A_HOST),
    ],
)
def test_a_host_has_a_problem_however_it_is_spelled(host: str, problem: AddressProblem) -> None:
    assert list(host_problems(host)) == [problem]


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "metadata.google.internal"])
def test_a_name_has_none_where_it_is_resolved_under_guard(host: str) -> None:
    assert list(host_problems(host, names=False)) == []


@pytest.mark.parametrize(
    "host", ["registry.example.com", "REG.test.", "xn--bcher-kva.example", "my_registry", "10.0.0.1", "2001:db8::1"]
)
def test_registries_in_private_and_public_networks_have_none(host: str) -> None:
    assert list(host_problems(host)) == []


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("[::1]", True), ("127.9.9.9", True), ("a.localhost", True), ("a", False)],
)
def test_what_is_loopback_by_definition(host: str, loopback: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "own"), [("ollama.com:443", True), ("registry.ollama.ai", True), ("ollama.com.evil.example", False)]
)
def test_which_hosts_are_ollamas(host: str, own: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_ollama_cloud(host) is own


def test_an_origin_is_shown_without_a_login() -> None:
    assert origin_of("https://me:pw@h:81/x?y") == "https://h:81"
