"""Answers with another status than 200, and answers with 200 that are no push's answer."""

from __future__ import annotations

from typing import Final

from tests.catalogue.case import STREAMED, SUCCESS, UNSTREAMED, Case, lines
from tests.support.refusals import refused, server_error
from tests.support.server_push import Expected

from ollama_push.core.errors import StreamTruncated, UnexpectedContent
from ollama_push.core.peer_text import MAX_ERROR_BODY_BYTES
from ollama_push.testing.server import Hold, Step, head, json_answer

__all__ = ["CASES"]

_SIGN_IN: Final = "https://ollama.com/connect?name=pc&key=c3NoLWVkMjU1MTk"
_PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"


def _page(status: int, body: bytes = _PAGE, headers: dict[str, str] | None = None) -> list[Step]:
    fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    return [head(status, fields, content_type="text/html") + body]


def _plain(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> list[Step]:
    fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    return [head(status, fields, content_type="text/plain" if body else None) + body]


def _moved(status: int, to: str) -> Case:
    return Case(
        f"HTTP {status} to another place",
        _plain(status, b"", {"Location": to}),
        Expected(0, server_error(status, location=to)),
    )


def _cut(status: int, *then: Step) -> list[Step]:
    return [head(status, {"Content-Length": "99"}, content_type="application/json") + b'{"error":"unauth', *then]


CASES: Final = (
    # --- errors in JSON
    Case(
        "HTTP 400 with JSON",
        json_answer(b'{"error":"model is required"}', 400),
        Expected(0, server_error(400, "model is required")),
    ),
    Case(
        "HTTP 404 with JSON",
        json_answer(b'{"error":"no such model"}', 404),
        Expected(0, server_error(404, "no such model")),
    ),
    Case(
        "HTTP 500 with JSON",
        json_answer(b'{"error":"unauthorized: access denied"}', 500),
        Expected(0, server_error(500, "unauthorized: access denied")),
    ),
    Case(
        "HTTP 401 with a sign-in URL",
        json_answer(b'{"error":"unauthorized","signin_url":"%s"}' % _SIGN_IN.encode(), 401),
        Expected(0, server_error(401, "unauthorized", _SIGN_IN)),
    ),
    Case(
        "HTTP 401 with a sign-in URL that is none",
        json_answer(b'{"error":"unauthorized","signin_url":5}', 401),
        Expected(0, server_error(401, "unauthorized")),
    ),
    Case(
        "HTTP 400 whose error is an object",
        json_answer(b'{"error":{"code":"X"}}', 400),
        Expected(0, server_error(400, '{"code":"X"}')),
    ),
    Case(
        "HTTP 403 with a registry's errors",
        json_answer(b'{"errors":[{"code":"DENIED"}]}', 403),
        Expected(0, server_error(403, '[{"code":"DENIED"}]')),
    ),
    Case(
        "HTTP 429 with a message",
        json_answer(b'{"message":"slow down"}', 429),
        Expected(0, server_error(429, "slow down")),
    ),
    Case("HTTP 400 with a list", json_answer(b"[]", 400), Expected(0, server_error(400, "[]"))),
    Case(
        "HTTP 500 with a body beyond the limit",
        json_answer(b'{"error":"%s"}' % (b"x" * MAX_ERROR_BODY_BYTES), 500),
        Expected(0, server_error(500, '{"error":"' + "x" * 487 + "...")),
    ),
    # --- errors in other words
    Case("HTTP 403 without a word", _plain(403), Expected(0, server_error(403))),
    Case(
        "HTTP 404 in plain text",
        _plain(404, b"404 page not found"),
        Expected(0, server_error(404, "404 page not found")),
    ),
    Case(
        "HTTP 405 in plain text",
        _plain(405, b"405 method not allowed"),
        Expected(0, server_error(405, "405 method not allowed")),
    ),
    Case(
        "HTTP 413 with a page",
        _page(413, b"<h1>413 Request Entity Too Large</h1>"),
        Expected(0, server_error(413, "413 Request Entity Too Large")),
    ),
    Case("HTTP 502 with a page", _page(502), Expected(0, server_error(502, "502 Bad Gateway: nginx"))),
    Case("HTTP 504 with nothing", _plain(504), Expected(0, server_error(504))),
    Case(
        "HTTP 400 to a TLS server",
        _plain(400, b"Client sent an HTTP request to an HTTPS server.\n"),
        Expected(0, server_error(400, "Client sent an HTTP request to an HTTPS server.")),
    ),
    Case(
        "HTTP 500 that shows a token",
        _plain(500, b"Authorization: Bearer abcdefghijkl"),
        Expected(0, server_error(500, "Authorization: Bearer <hidden>")),
    ),
    Case("HTTP 599", _plain(599, b"what"), Expected(0, server_error(599, "what"))),
    # --- waiting
    Case(
        "HTTP 429 with Retry-After",
        _plain(429, b"", {"Retry-After": "7"}),
        Expected(0, server_error(429, retry_after=7.0)),
    ),
    Case(
        "HTTP 503 with Retry-After",
        json_answer(b'{"error":"busy"}', 503, {"Retry-After": "0"}),
        Expected(0, server_error(503, "busy", retry_after=0.0)),
    ),
    Case(
        "HTTP 503 with a date to come back",
        _plain(503, b"", {"Date": "Tue, 24 Nov 2026 13:00:00 GMT", "Retry-After": "Tue, 24 Nov 2026 13:02:00 GMT"}),
        Expected(0, server_error(503, retry_after=120.0)),
    ),
    Case(
        "HTTP 503 with a Retry-After that is none",
        _plain(503, b"", {"Retry-After": "soon"}),
        Expected(0, server_error(503)),
    ),
    # --- elsewhere
    _moved(301, "http://elsewhere.test/api/push"),
    _moved(302, "/login"),
    _moved(307, "/api/push"),
    _moved(308, "https://elsewhere.test/api/push"),
    Case("HTTP 304", _plain(304), Expected(0, server_error(304))),
    # --- statuses of success that are not a push's
    Case(
        "HTTP 201 with a stream",
        [head(201, {"Connection": "close"}), lines(SUCCESS)],
        Expected(0, UnexpectedContent(201, "application/x-ndjson", SUCCESS.decode())),
    ),
    Case("HTTP 204", [head(204, {"Connection": "close"}, content_type=None)], Expected(0, UnexpectedContent(204, ""))),
    # --- 200 with something else
    Case(
        "HTTP 200 with a page", _page(200), Expected(0, UnexpectedContent(200, "text/html", "502 Bad Gateway: nginx"))
    ),
    Case(
        "HTTP 200 in gzip",
        [head(200, {"Content-Encoding": "gzip", "Connection": "close"}), b"\x1f\x8b\x08\x00"],
        Expected(0, UnexpectedContent(200, "content-encoding gzip", "\ufffd\x08\x00")),
    ),
    Case(
        "HTTP 200 with server-sent events",
        [head(200, {"Connection": "close"}, content_type="text/event-stream"), b"data: {}\n\n"],
        Expected(0, UnexpectedContent(200, "text/event-stream", "data: {}")),
    ),
    Case(
        "HTTP 200 and no content type",
        [head(200, {"Connection": "close"}, content_type=None), lines(SUCCESS)],
        Expected(1),
    ),
    Case(
        "HTTP 200 as text, as the first servers did",
        [head(200, {"Connection": "close"}, content_type="text/plain; charset=utf-8"), lines(SUCCESS)],
        Expected(1),
    ),
    # --- one JSON object
    Case("HTTP 200 with a single success", json_answer(SUCCESS), Expected(1)),
    Case(
        "HTTP 200 with a single error",
        json_answer(b'{"error":"file does not exist"}'),
        Expected(0, refused("file does not exist")),
    ),
    Case(
        "HTTP 200 with a single other status",
        json_answer(b'{"status":"pushing manifest"}'),
        Expected(1, StreamTruncated("pushing manifest")),
    ),
    Case("HTTP 200 with an empty JSON body", json_answer(b""), Expected(0, StreamTruncated())),
    Case(
        "a single object over several lines", json_answer(b'{\n "status": "success"\n}\n'), Expected(1), ways=UNSTREAMED
    ),
    Case(
        "lines although none were asked for",
        [head(200, {"Connection": "close"}), lines(b'{"status":"a"}', SUCCESS)],
        Expected(2),
        ways=UNSTREAMED,
    ),
    # --- error statuses whose body never ends well
    Case("HTTP 401 whose body is cut", _cut(401), Expected(0, server_error(401, '{"error":"unauth'))),
    Case(
        "HTTP 401 whose body stands still",
        _cut(401, Hold()),
        Expected(0, server_error(401, '{"error":"unauth')),
        ways=STREAMED,
        stall_timeout=0.3,
    ),
    Case(
        "a page that stands still",
        [head(200, {"Connection": "close"}, content_type="text/html"), b"<title>Sign in</title>", Hold()],
        Expected(0, UnexpectedContent(200, "text/html", "Sign in")),
        ways=STREAMED,
        stall_timeout=0.3,
    ),
)
