"""The addresses of blobs: how long they are good for, and that nothing else is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
from tests.support.clocks import Clock

from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.gateway import GatewaySettings
from ollama_push.gateway.pull.direct_urls import DirectUrls
from ollama_push.gateway.pull.paths import PullTarget
from ollama_push.local import ModelStore

DIGEST = f"sha256:{'ab' * 32}"
TARGET = PullTarget("team/my-llama", Endpoint("reg.test", "https://reg.test", "team/my-llama"))
SETTINGS = GatewaySettings(store=ModelStore(Path("/nowhere")))


@attrs.frozen
class Address:
    expires: str
    signature: str


def made(urls: DirectUrls, size: int = 0) -> Address:
    url = urls.url(TARGET, DIGEST, size, "127.0.0.1:11434")
    assert url is not None
    query = parse_qs(urlsplit(url).query)
    return Address(query["expires"][0], query["signature"][0])


def test_an_address_is_good_for_an_hour_and_a_second_a_mebibyte() -> None:
    clock = Clock()
    clock.now = 1000.0
    urls = DirectUrls(SETTINGS, b"k" * 32, clock)
    for size, end in ((0, 4600.0), (50 << 30, 4600.0 + 50 * 1024)):
        clock.now = 1000.0
        address = made(urls, size)
        clock.now = end - 1
        assert urls.allows(TARGET.name, DIGEST, address.expires, address.signature)
        clock.now = end
        assert not urls.allows(TARGET.name, DIGEST, address.expires, address.signature)


def test_an_address_outlives_the_gateway_that_made_it() -> None:
    clock = Clock()
    address = made(DirectUrls(SETTINGS, b"k" * 32, clock))
    assert DirectUrls(SETTINGS, b"k" * 32, clock).allows(TARGET.name, DIGEST, address.expires, address.signature)
    assert not DirectUrls(SETTINGS, b"l" * 32, clock).allows(TARGET.name, DIGEST, address.expires, address.signature)


def test_what_was_not_made_here_is_not_read() -> None:
    urls = DirectUrls(SETTINGS, b"k" * 32, Clock())
    assert not urls.allows(TARGET.name, DIGEST, "no number", "x")
    assert not urls.allows("\udcff", DIGEST, "1", "\udcff")
