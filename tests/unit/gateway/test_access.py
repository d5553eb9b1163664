"""What a host on the list opens: itself on the port that is named, which is the scheme's own where none is written."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from tests.support.gateway import Gateway, settings_for, store_of

from ollama_push.core.facts import ForbiddenAddress
from ollama_push.core.hosts import AddressProblem
from ollama_push.gateway.egress.rules import AddressRules
from ollama_push.gateway.egress.transport import forbidden_url
from ollama_push.testing.registry import EmbeddedRegistry

# Link-local: nobody reaches it without being allowed to.
ADDRESS: Final = "169.254.1.1"


@pytest.mark.parametrize(
    ("allowed", "open_urls", "closed_urls"),
    [
        (
            ADDRESS,
            [f"https://{ADDRESS}", f"http://{ADDRESS}", f"http://{ADDRESS}:5000"],
            ["https://169.254.1.2", "https://169.254.1.10"],
        ),
        (
            f"{ADDRESS}:5000",
            [f"http://{ADDRESS}:5000/v2/", f"https://{ADDRESS}:5000/v2/"],
            [f"http://{ADDRESS}/", f"https://{ADDRESS}/", f"http://{ADDRESS}:5001/", f"http://{ADDRESS}:50000/"],
        ),
        (
            f"{ADDRESS}:443",
            [f"https://{ADDRESS}/", f"https://{ADDRESS}:443/", f"http://{ADDRESS}:443/"],
            [f"http://{ADDRESS}/", f"https://{ADDRESS}:80/"],
        ),
        (
            f"{ADDRESS}:80",
            [f"http://{ADDRESS}/", f"http://{ADDRESS}:80/", f"https://{ADDRESS}:80/"],
            [f"https://{ADDRESS}/", f"http://{ADDRESS}:443/"],
        ),
    ],
)
def test_a_url_may_be_opened_on_the_port_that_is_allowed(
    allowed: str, open_urls: list[str], closed_urls: list[str]
) -> None:
    rules = AddressRules(frozenset({allowed}))
    assert [url for url in open_urls if forbidden_url(rules, url)] == []
    assert [url for url in closed_urls if not forbidden_url(rules, url)] == []


def test_a_port_that_is_none_is_not_allowed() -> None:
    rules = AddressRules(frozenset({f"{ADDRESS}:443"}))
    assert forbidden_url(rules, f"https://{ADDRESS}:99999/") == ForbiddenAddress(ADDRESS, AddressProblem.LINK_LOCAL)


def test_hosts_are_told_apart_without_regard_to_case() -> None:
    rules = AddressRules(frozenset({"registry.example.com", "other.example.com:5000"}))
    assert rules.allows_by_name("Registry.Example.COM", 1)
    assert rules.allows_by_name("OTHER.example.com", 5000)
    assert not rules.allows_by_name("other.example.com", None)
    assert not rules.allows_by_name("example.com", 5000)


class Gateways:
    """Gateways that may push to one host, as one of a list or as the default one. Their stores hold nothing."""

    def __init__(self, setting: str, folder: Path) -> None:
        self._setting = setting
        self._folder = folder

    def allowed(self, host: str, asked: str, *, insecure: bool) -> bool:
        """Return whether a push to *asked* gets as far as the store where *host* is allowed."""
        given = {self._setting: (host,) if self._setting == "allow" else host}
        with Gateway(settings_for(store_of(self._folder), **given)) as gateway:
            response = gateway.push({"model": f"{asked}/team/demo", "insecure": insecure})
        assert response.status in (200, 403)
        if response.status == 200:
            assert "no such file or directory" in response.error
        return response.status == 200


@pytest.fixture(params=["allow", "default_registry"])
def gateway_for(request: pytest.FixtureRequest, tmp_path: Path) -> Gateways:
    return Gateways(request.param, tmp_path)


@pytest.mark.parametrize("insecure", [True, False])
def test_a_port_on_the_list_opens_that_port_and_no_other(gateway_for: Gateways, *, insecure: bool) -> None:
    host = f"{ADDRESS}:5000"
    assert gateway_for.allowed(host, host, insecure=insecure)
    for other in (ADDRESS, f"{ADDRESS}:5001", f"{ADDRESS}:50000", "169.254.1.2:5000"):
        assert not gateway_for.allowed(host, other, insecure=insecure)


@pytest.mark.parametrize("insecure", [True, False])
def test_a_host_without_a_port_opens_all_of_them(gateway_for: Gateways, *, insecure: bool) -> None:
    for asked in (ADDRESS, f"{ADDRESS}:5000", f"{ADDRESS}:443"):
        assert gateway_for.allowed(ADDRESS, asked, insecure=insecure)
    assert not gateway_for.allowed(ADDRESS, "169.254.1.2", insecure=insecure)


@pytest.mark.parametrize(("port", "insecure"), [(443, False), (80, True)])
def test_a_name_without_a_port_means_that_of_its_scheme(gateway_for: Gateways, port: int, *, insecure: bool) -> None:
    assert gateway_for.allowed(f"{ADDRESS}:{port}", ADDRESS, insecure=insecure)
    assert not gateway_for.allowed(f"{ADDRESS}:{port}", ADDRESS, insecure=not insecure)


def test_what_a_name_resolves_to_may_be_reached_on_the_port_that_is_allowed(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        host = f"localhost:{registry.host.partition(':')[2]}"
        store = store_of(tmp_path, f"{host}/team/demo/latest")
        order = {"model": f"{host}/team/demo", "insecure": True}
        with Gateway(settings_for(store, loopback=False, default_registry="localhost:1")) as gateway:
            assert "localhost is an address of the gateway's own machine" in gateway.push(order).error
        assert registry.requests == []
        with Gateway(settings_for(store, loopback=False, default_registry=host)) as gateway:
            assert gateway.push(order).lines[-1] == {"status": "success"}
