"""Which hosts NO_PROXY covers, as Go's programs and curl read it."""

from __future__ import annotations

import pytest

from ollama_push.core.errors import ConnectCause, ConnectFailed
from ollama_push.transports._machine import proxy_for

PROXY = "http://proxy.example:3128"
NAME, V4, V6 = "https://reg.corp.example", "http://10.1.2.3:5000", "http://[fd00::1]:5000"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ALL_PROXY", PROXY)


@pytest.mark.parametrize(
    ("url", "rules"),
    [
        (NAME, "*"),
        (NAME, "reg.corp.example"),
        (NAME, "other.example,REG.corp.Example"),
        (NAME, "other.example reg.corp.example"),
        (NAME, "corp.example"),
        (NAME, ".corp.example"),
        (NAME, "*.corp.example"),
        (NAME, "reg.corp.example:443"),
        (NAME, "*.corp.example:443"),
        ("http://reg.corp.example", "reg.corp.example:80"),
        ("http://corp.example", ".corp.example"),
        ("http://reg.corp.example.", "corp.example"),
        (V4, "10.1.2.3"),
        (V4, "10.1.2.3:5000"),
        (V4, "10.0.0.0/8"),
        (V4, "192.168.0.0/16, 10.1.2.0/24"),
        (V4, "10.1.2.3/8"),
        (V6, "fd00::/8"),
        (V6, "[fd00::1]"),
        (V6, "[fd00::1]:5000"),
        (V6, "fd00::1"),
        (V6, "fd00:0::1"),
        (V6, "fd00:0:0:0:0:0:0:1"),
    ],
)
def test_a_host_that_is_covered(url: str, rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", rules)
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("url", "rules"),
    [
        (NAME, ""),
        (NAME, ","),
        (NAME, "example.corp"),
        (NAME, "orp.example"),
        (NAME, "*.reg.corp.example"),
        ("https://corp.example", "*.corp.example"),
        (NAME, "reg.corp.example:80"),
        (NAME, "reg.corp.example:x"),
        (NAME, "10.0.0.0/8"),
        (NAME, "corp.example/8"),
        (V4, "11.0.0.0/8"),
        (V4, "10.1.2.3:80"),
        (V4, "10.1.2"),
        (V6, "fd01::/16"),
        (V6, "[fd00::1]:80"),
        (V6, "10.0.0.0/8"),
    ],
)
def test_a_host_that_is_not_covered(url: str, rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", rules)
    proxy = proxy_for(url)
    assert proxy is not None
    assert proxy.url == PROXY


@pytest.mark.parametrize("scheme", ["socks", "socks4", "socks4a", "ftp"])
def test_a_proxy_of_another_kind_is_blamed(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:s3cret@proxy.example:1080")
    with pytest.raises(ConnectFailed, match=f"not by {scheme}://") as caught:
        proxy_for(NAME)
    assert caught.value.cause is ConnectCause.PROXY
    assert "s3cret" not in str(caught.value)
