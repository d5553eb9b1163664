"""Where the server is: an address once understood is understood the same again."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.server.address import base_url

pytestmark = pytest.mark.slow

texts = st.text(st.sampled_from("ab.:/-_[]0169'\"@?# h"), max_size=16)
addresses = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)


@given(st.sampled_from(["", "http://", "https://", "HTTP://"]), texts | addresses)
def test_any_text_is_an_address_or_refused_and_twice_is_once(scheme: str, text: str) -> None:
    try:
        url = base_url(scheme + text)
    except InvalidSetting:
        return
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname not in (None, "", "0.0.0.0", "::")
    assert parts.port is not None
    assert (parts.query, parts.fragment, parts.username) == ("", "", None)
    assert not url.endswith("/")
    assert base_url(url) == url


@given(addresses, st.integers(0, 65535))
def test_addresses_keep_their_port(address: str, port: int) -> None:
    bracketed = f"[{address}]" if ":" in address else address
    assert base_url(f"{bracketed}:{port}").endswith(f":{port}")
    assert base_url(bracketed) == base_url(address)
    assert urlsplit(base_url(f"https://{bracketed}")).port == 443
