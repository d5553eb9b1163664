"""Bodies that are no push's answer: what a person gets to read of them."""

from __future__ import annotations

import pytest

from ollama_push.core.peer_text import readable_excerpt
from ollama_push.core.responses import retry_after_seconds
from ollama_push.core.server.error_body import foreign_content, server_error


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"content-type": "application/x-ndjson"}, False),
        ({"content-type": "application/json; charset=utf-8"}, False),
        ({"content-type": "text/plain"}, False),
        ({"content-type": "application/octet-stream", "content-encoding": " Identity "}, False),
        ({"content-encoding": ""}, False),
        ({"content-type": " Text/HTML; charset=utf-8"}, True),
        ({"content-type": "application/xhtml+xml"}, True),
        ({"content-type": "text/xml"}, True),
        ({"content-type": "image/png"}, True),
        ({"content-type": "text/event-stream"}, True),
        ({"content-type": "application/x-ndjson", "content-encoding": "gzip"}, True),
    ],
)
def test_recognises_foreign_content(headers: dict[str, str], foreign: bool) -> None:  # noqa: FBT001 - a table's column
    assert foreign_content(headers) is foreign


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"model is required"}', "model is required"),
        (b'{"error":{"code":5}}', '{"code":5}'),
        (b'{"error":7}', "7"),
        (b'{"message":"nope"}', "nope"),
        (b'{"errors":[{"code":"DENIED"}]}', '[{"code":"DENIED"}]'),
        (b'{"error":null,"message":"nope"}', "nope"),
        (b'{"detail":"Not Found"}', '{"detail":"Not Found"}'),
        (b'["a"]', '["a"]'),
        (b"405 method not allowed", "405 method not allowed"),
        (b"a\n\n  b\t c", "a b c"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"<html><title>502 Bad Gateway</title><body><h1>nginx</h1></body></html>", "502 Bad Gateway: nginx"),
        (b"<title>Only</title>", "Only"),
        (b"<style>p{}</style><p>Tom &amp; <b>Jerry</b></p><!-- x --><script>alert(", "Tom & Jerry"),
    ],
)
def test_reads_the_message(body: bytes, message: str) -> None:
    assert server_error(500, {}, body).message == message


def test_a_long_page_is_cut() -> None:
    assert readable_excerpt(b"a" * 500) == "a" * 500
    assert readable_excerpt(b"a" * 501) == "a" * 497 + "..."


def test_a_secret_in_a_page_is_hidden() -> None:
    assert "hush" not in str(server_error(500, {}, b"see http://me:hush@h/"))


def test_a_secret_at_the_cut_is_hidden() -> None:
    body = b"a" * 470 + b" https://me:hushhushhushhush@example.com/"
    assert "hush" not in str(server_error(500, {}, body))


@pytest.mark.parametrize(("value", "url"), [('"https://o/c?key=1"', "https://o/c?key=1"), ("5", None), ("null", None)])
def test_tells_where_to_sign_in(value: str, url: str | None) -> None:
    error = server_error(401, {}, f'{{"error":"unauthorized","signin_url":{value}}}'.encode())
    assert (error.status, error.message, error.signin_url) == (401, "unauthorized", url)


def test_a_redirect_names_its_target() -> None:
    assert "redirected to /api/push" in server_error(307, {"location": "/api/push"}, b"").message
    assert server_error(307, {"location": "/api/push"}, b"Moved").message == "Moved"


def test_a_silent_403_is_explained() -> None:
    assert "Host or Origin" in server_error(403, {}, b"").message
    assert server_error(403, {}, b"denied").message == "denied"
    assert server_error(400, {}, b"").message == ""


_DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "9" * 400}, 999_999_999.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "\u0663"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:29:30 GMT", "date": _DATE}, 90.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT", "date": _DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:29:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:29:30 GMT", "date": "today"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:29:30 -0000", "date": _DATE}, None),
    ],
)
def test_reads_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds
    assert server_error(503, headers, b"").retry_after == seconds
