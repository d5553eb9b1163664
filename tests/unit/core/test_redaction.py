"""Secrets leave texts; everything else stays."""

from __future__ import annotations

import pytest

from ollama_push.core.hosts import origin_of
from ollama_push.core.redaction import HIDDEN, hide_secret_headers, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@h/x", f"https://{HIDDEN}@h/x"),
        ("https://token@h/x", f"https://{HIDDEN}@h/x"),
        ('Put "https://s3/b?X-Amz-Signature=ab&x=1": EOF', f'Put "https://s3/b?{HIDDEN}": EOF'),
        ("https://blob/b?sv=1&sig=ab%3D done", f"https://blob/b?{HIDDEN} done"),
        ("https://storage/b?X-Goog-Credential=ab", f"https://storage/b?{HIDDEN}"),
        ("GET https://r/token?nonce=1", f"GET https://r/token?{HIDDEN}"),
        ("Authorization: Bearer abcdefgh.ij", f"Authorization: Bearer {HIDDEN}"),
        ("authorization: basic bWVtZTpwdw==", f"authorization: basic {HIDDEN}"),
        ('{"access_token": "ab", "x": 1}', f'{{"access_token": {HIDDEN}, "x": 1}}'),
        ("password=ab&x=1", f"password={HIDDEN}&x=1"),
        ("apikey: ab", f"apikey: {HIDDEN}"),
        ("X-Amz-Security-Token=ab;", f"X-Amz-Security-Token={HIDDEN};"),
    ],
)
def test_hides(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unauthorized: access denied",
        'Bearer realm="https://auth.example.com/token",service="registry"',
        "https://h/v2/a/b?page=2",
        "me@example.com",
        "sha256:49a7f1752a33e1ad3b8f85bad4cf5223966cd012e5c48d45a14ed39f6d9eeab9",
    ],
)
def test_keeps(text: str) -> None:
    assert redact(text) == text


def test_hides_userinfo_and_query_of_one_url() -> None:
    assert "hush" not in redact("https://me:hush@h/x?X-Goog-Credential=hush")


def test_hides_short_basic_credentials() -> None:
    assert redact("Authorization: Basic bWU6cHc=") == f"Authorization: Basic {HIDDEN}"


def test_twice_is_once() -> None:
    text = "https://me:pw@h/x?token=1 Bearer abcdefgh password=ab"
    assert redact(redact(text)) == redact(text)


def test_headers_show_names_and_harmless_values() -> None:
    shown = hide_secret_headers(
        {
            "Authorization": "Basic hush",
            "Cookie": "hush",
            "X-Token": "hush",
            "Referer": "http://u:hush@h",
            "Accept": "*/*",
        }
    )
    assert "hush" not in shown
    assert "'Accept': '*/*'" in shown
    assert shown.count(HIDDEN) == 4


@pytest.mark.parametrize(
    ("url", "origin"),
    [("http://h:1/a/b?c", "http://h:1"), ("https://me:pw@h/x", "https://h"), ("http://[::1]:80/", "http://[::1]:80")],
)
def test_an_origin_has_no_credentials(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_prose_about_authentication_stays_readable() -> None:
    assert redact("basic authentication failed") == "basic authentication failed"
    assert redact("bearer abcdEFGH1 refused") == f"bearer {HIDDEN} refused"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.test/a?x=1?X-Amz-Signature=5ecret", "https://h.test/a?"),
        ("https://h.test/a#X-Amz-Signature=5ecret", "https://h.test/a#"),
        ("https://h.test/a#x#X-Amz-Signature=5ecret", "https://h.test/a#"),
        ("https://h.test/a?x#X-Amz-Signature=5ecret", "https://h.test/a?"),
    ],
)
def test_all_behind_the_path_of_a_signed_url_is_hidden(url: str, shown: str) -> None:
    assert redact(url) == f"{shown}{HIDDEN}"
