"""T2, T3, T5, T6: what a transport hands over of a response, and when."""

from __future__ import annotations

import gzip
import threading
from typing import Final

from ollama_push.testing.answers import chunk, head
from ollama_push.testing.contract._clauses import CHUNKED, ClauseList, Rig, ask, expect, fetch, plain
from ollama_push.testing.server import ScriptedServer
from ollama_push.testing.steps import Await, Step

__all__ = ["RESPONSE_CLAUSES"]

RESPONSE_CLAUSES: Final = ClauseList()
_clause = RESPONSE_CLAUSES.add

_FIRST: Final = b'{"status":"retrieving manifest"}\n'
_SECOND: Final = b'{"status":"success"}\n'


@_clause("T2", "head first", "Status and headers are there before the body is.")
def _gives_the_head_before_the_body(rig: Rig) -> None:
    seen = threading.Event()
    script: list[Step] = [head(201, {"Content-Length": "4"}), Await(seen, 2 * rig.patience), b"body"]
    with ScriptedServer(script) as server, rig.transport() as transport, transport.open(ask(server)) as response:
        expect(response.status == 201, f"201 was handed over as {response.status}")  # noqa: PLR2004 - sent above
        length = response.headers.get("content-length")
        expect(length == "4", f"Content-Length was handed over as {length!r}")
        seen.set()
        body = b"".join(response.chunks())
        expect(body == b"body", f"the body was handed over as {body!r}")


@_clause("T2", "header names", "Header names are lower case, and repeated ones are joined.")
def _joins_header_names_in_lower_case(rig: Rig) -> None:
    fields = b"X-Once: a, b\r\nWWW-Authenticate: Basic\r\nwww-authenticate: Bearer realm=x\r\nContent-Length: 0\r\n"
    script = [b"HTTP/1.1 401 No\r\n" + fields + b"\r\n"]
    with ScriptedServer(script) as server, rig.transport() as transport, transport.open(ask(server)) as response:
        headers = dict(response.headers)
    expected = {"x-once": "a, b", "www-authenticate": "Basic, Bearer realm=x", "content-length": "0"}
    expect(headers == expected, f"the headers were handed over as {headers}")


def _expect_at_once(rig: Rig, response_head: bytes, first: bytes, rest: bytes) -> None:
    """Expect the first line before the server sends *rest*, which it does once the line was read."""
    seen = threading.Event()
    script: list[Step] = [response_head + first, Await(seen, 2 * rig.patience), rest]
    with ScriptedServer(script) as server, rig.transport() as transport, transport.open(ask(server)) as response:
        chunks = response.chunks()
        received = b""
        while len(received) < len(_FIRST) and (data := next(chunks, None)) is not None:
            received += data
        expect(received == _FIRST, f"{received!r} was handed over, when only {_FIRST!r} had been sent")
        seen.set()
        received = b"".join(chunks)
        expect(received == _SECOND, f"{received!r} was handed over, and not {_SECOND!r}")


@_clause("T3", "chunked", "A chunk of a chunked body is handed over when it has arrived.")
def _gives_chunks_as_they_arrive(rig: Rig) -> None:
    _expect_at_once(rig, CHUNKED, chunk(_FIRST), chunk(_SECOND) + chunk(b""))


@_clause("T3", "part of a chunk", "What has arrived of a chunk is handed over before the rest of it.")
def _gives_a_part_of_a_chunk(rig: Rig) -> None:
    whole = chunk(_FIRST + _SECOND)
    cut = whole.index(_SECOND)
    _expect_at_once(rig, CHUNKED, whole[:cut], whole[cut:] + chunk(b""))


@_clause("T3", "content-length", "A part of a body with a length is handed over when it has arrived.")
def _gives_a_part_of_a_sized_body(rig: Rig) -> None:
    _expect_at_once(rig, head(headers={"Content-Length": str(len(_FIRST + _SECOND))}), _FIRST, _SECOND)


@_clause("T3", "close-delimited", "A part of a body that ends with the connection is handed over when it has arrived.")
def _gives_a_part_of_a_close_delimited_body(rig: Rig) -> None:
    _expect_at_once(rig, head(headers={"Connection": "close"}), _FIRST, _SECOND)


@_clause("T5", "gzip", "A body in a content coding is handed over as it is.")
def _does_not_decode_content_codings(rig: Rig) -> None:
    for body in (
        gzip.compress(_FIRST, mtime=0),
        _FIRST,
    ):  # the second is not gzip, which only a transport that decodes would notice
        response = head(headers={"Content-Encoding": "gzip", "Content-Length": str(len(body))}) + body
        with ScriptedServer([response]) as server, rig.transport() as transport:
            received = fetch(transport, ask(server)).body
        expect(received == body, f"{body!r} was handed over as {received!r}")


@_clause("T5", "any bytes", "Line ends, cut characters and bytes that are no text are handed over as they are.")
def _changes_no_bytes(rig: Rig) -> None:
    pieces = [bytes(range(256)), b"\r\n\r", b"\n\n", "\u2028\x85".encode(), b"\xe2\x80", b"\xa8\xff", b" "]
    with ScriptedServer([CHUNKED, *map(chunk, pieces), chunk(b"")]) as server, rig.transport() as transport:
        received = fetch(transport, ask(server)).body
    expect(received == b"".join(pieces), f"{b''.join(pieces)!r} was handed over as {received!r}")


@_clause("T6", "any status", "No status is an error; its body is handed over like any other.")
def _raises_on_no_status(rig: Rig) -> None:
    for status in (201, 300, 400, 401, 404, 407, 416, 429, 500, 503, 599):
        with ScriptedServer([plain(b"words", status)]) as server, rig.transport() as transport:
            response = fetch(transport, ask(server, "POST"))
            expect(response.status == status, f"{status} was handed over as {response.status}")
            expect(response.body == b"words", f"the body of a {status} was handed over as {response.body!r}")
            expect(len(server.requests) == 1, f"{len(server.requests)} requests arrived after a {status}")


@_clause("T6", "redirects", "A redirect is an answer like any other: it is not followed.")
def _follows_no_redirect(rig: Rig) -> None:
    for status in (301, 302, 303, 307, 308):
        redirect = head(status, {"Location": "/elsewhere", "Content-Length": "0", "Connection": "close"})
        with ScriptedServer([redirect], [plain(b"elsewhere")]) as server, rig.transport() as transport:
            response = fetch(transport, ask(server, "POST"))
            targets = [request.target for request in server.requests]
            expect(targets == ["/"], f"a {status} led to requests for {', '.join(targets)}")
            expect(response.status == status, f"{status} was handed over as {response.status}")
