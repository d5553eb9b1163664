"""Where the server is: every row of upstream's tables, and what we refuse on top."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.hosts import is_loopback, is_ollama_cloud
from ollama_push.core.server.address import base_url, path_of

_TABLES: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "data" / "cases" / "hosts.json").read_text("utf-8")
)["tables"]

ROWS: Final = [
    pytest.param(case["input"], case["expected"], id=f"{table}-{number}")
    for table in ("Host", "ConnectableHost", "ClientFromEnvironment", "PYTHON_CLIENT_parse_host")
    for number, case in enumerate(_TABLES[table]["cases"])
]


def _connectable(url: str) -> str:
    """Return the form a client can connect to, which is what upstream's other tables leave out."""
    scheme, _, rest = url.rstrip("/").partition("://")
    host, colon, port_and_path = rest.rpartition(":")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"{scheme}://{host}{colon}{port_and_path}"


def test_all_upstream_tables_are_used() -> None:
    assert set(_TABLES) == {"Host", "ConnectableHost", "ClientFromEnvironment", "PYTHON_CLIENT_parse_host"}
    assert len(ROWS) == 81


@pytest.mark.parametrize(("text", "expected"), ROWS)
def test_agrees_with_upstream(text: str | None, expected: str) -> None:
    assert base_url(text) == _connectable(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.com:", "http://example.com:11434"),
        ("example.com:abc", "http://example.com:11434"),
        ("example.com:123456789", "http://example.com:11434"),
        ("example.com:65535", "http://example.com:65535"),
        ("HTTPS://example.com:1", "https://example.com:1"),
        ("http://", "http://127.0.0.1:80"),
        ("::", "http://[::1]:11434"),
        ("0:0:0:0:0:0:0:0", "http://[::1]:11434"),
        ("ollama_server:11434", "http://ollama_server:11434"),
        ("example.com./a/b/", "http://example.com.:11434/a/b"),
        ("https://ollama.com", "https://ollama.com:443"),
    ],
)
def test_reads(text: str, expected: str) -> None:
    assert base_url(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ftp://example.com", "the scheme must be http or https"),
        ("://example.com", "the scheme must be http or https"),
        ("two words", "this is no host"),
        ("-example.com", "this is no host"),
        ("[::1", "this is no host"),
        ("ex√mple.com", "this is no host"),
        ("http://example.com?x=1", "this is no host"),
        ("example.com/a?x=1", "the path prefix holds characters"),
        ("example.com/a#b", "the path prefix holds characters"),
        ("example.com/a b", "the path prefix holds characters"),
    ],
)
def test_refuses_what_no_client_can_connect_to(text: str, problem: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        base_url(text, setting="OLLAMA_HOST")
    assert str(caught.value).startswith("OLLAMA_HOST=")
    assert problem in caught.value.problem
    assert caught.value.value == text


def test_a_zone_keeps_its_port() -> None:
    assert base_url("[fe80::1%eth0]:1") == "http://[fe80::1%eth0]:1"


@pytest.mark.parametrize("text", ["::1%a b", "::1%a\r\nX: y", "[::1%a?b]"])
def test_a_zone_holds_nothing_that_a_url_cannot(text: str) -> None:
    with pytest.raises(InvalidSetting):
        base_url(text)


def test_refuses_a_quote_in_the_path_which_would_not_survive_a_second_reading() -> None:
    with pytest.raises(InvalidSetting):
        base_url("h/a'/")


def test_does_not_show_a_password() -> None:
    with pytest.raises(InvalidSetting) as caught:
        base_url("http://me:hush@example.com")
    assert "hush" not in f"{caught.value} {caught.value!r} {caught.value.args}"


@pytest.mark.parametrize(
    ("written", "url", "path"),
    [
        ("h//x", "http://h:11434/x", "/x"),
        ("h/", "http://h:11434", ""),
        ("http://h:1//a//./b/../c//", "http://h:1/a/c", "/a/c"),
        ("h/../..", "http://h:11434", ""),
        ("h/v1", "http://h:11434/v1", "/v1"),
    ],
)
def test_a_path_is_joined_as_gos_client_joins_it(written: str, url: str, path: str) -> None:
    assert (base_url(written), path_of(url)) == (url, path)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "notlocalhost", "10.0.0.1", "0.0.0.0", ""])
def test_not_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["ollama.com", "ollama.ai", "registry.ollama.ai", "Registry.Ollama.AI:443"])
def test_the_cloud(host: str) -> None:
    assert is_ollama_cloud(host)


@pytest.mark.parametrize("host", ["example.com", "notollama.com", "ollama.com.example.com", "localhost:5000"])
def test_not_the_cloud(host: str) -> None:
    assert not is_ollama_cloud(host)
