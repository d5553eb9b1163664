"""T2, T3, T5 to T10: what a transport hands over of a response, when, and which errors the failures become."""

from __future__ import annotations

import gzip
import math
import socket
import threading
from typing import Final

import attrs

from ollama_push.core.errors import ConnectFailed, ConnectionLost, TransportError, TransportTimeout
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.contract._clauses import (
    CHUNKED,
    ClauseList,
    Rig,
    ask,
    expect,
    expect_disconnect,
    fetch,
    plain,
    raised_by,
)
from ollama_push.testing.server import Await, Hold, Pause, Reset, ScriptedServer, Step, chunk, head

__all__ = ["RESPONSE_CLAUSES"]

RESPONSE_CLAUSES: Final = ClauseList()
_clause = RESPONSE_CLAUSES.add

_FIRST: Final = b'{"status":"retrieving manifest"}\n'
_SECOND: Final = b'{"status":"success"}\n'
_SHORT: Final = 0.15


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
    # The second is not gzip, which only a transport that decodes would notice.
    for body in (gzip.compress(_FIRST, mtime=0), _FIRST):
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


def _expect_error(rig: Rig, kind: type[TransportError], response: bytes, *, caused: bool = True) -> None:
    with ScriptedServer([response]) as server, rig.transport() as transport:
        raised_by(kind, lambda: fetch(transport, ask(server)), caused=caused)


def _expect_failure(rig: Rig, start: bytes, breach: Step = b"", kind: type[TransportError] = ConnectionLost) -> None:
    """Expect the line in *start*, and then an error of *kind* after *breach*, which follows once the line was read.

    Without *breach* the connection just ends, for which a library may have no error.
    """
    received = threading.Event()
    got: list[bytes] = []

    def read() -> None:
        with transport.open(ask(server)) as response:
            for data in response.chunks():
                got.append(data)
                received.set()

    with ScriptedServer([start, Await(received, rig.patience), breach]) as server, rig.transport() as transport:
        raised_by(kind, read, caused=breach != b"")
    expect(b"".join(got) == _FIRST, f"{b''.join(got)!r} was handed over before the failure, and not {_FIRST!r}")


@_clause("T7", "no HTTP", "An answer that is no HTTP is a TransportError from the library's error.")
def _raises_on_what_is_no_http(rig: Rig) -> None:
    for response in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n"):
        _expect_error(rig, TransportError, response)


@_clause("T7", "broken framing", "A body that breaks its own framing is a TransportError from the library's error.")
def _raises_on_broken_framing(rig: Rig) -> None:
    # If all arrives at once, a library may fail before it yields the first chunk; if not, the chunk must be yielded.
    _expect_error(rig, TransportError, CHUNKED + chunk(_FIRST) + b"no size\r\n")
    _expect_failure(rig, CHUNKED + chunk(_FIRST), b"no size\r\n", TransportError)


@_clause("T8", "refused", "A refused connection is ConnectFailed from the library's error and names the address.")
def _raises_connect_failed_when_refused(rig: Rig) -> None:
    # Bound but not listening: no other process can take the port, and a connection to it is refused.
    with socket.socket() as taken, rig.transport() as transport:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        request = HttpRequest("POST", f"http://{address}/api/push")
        error = raised_by(ConnectFailed, lambda: fetch(transport, request))
    expect(address in str(error), f"the message does not name {address}: {error}")


@_clause("T9", "between chunks", "A chunked body without its last chunk is ConnectionLost.")
def _raises_connection_lost_without_the_last_chunk(rig: Rig) -> None:
    _expect_failure(rig, CHUNKED + chunk(_FIRST))


@_clause("T9", "inside a chunk", "A chunk that is cut is ConnectionLost after what arrived of it.")
def _raises_connection_lost_inside_a_chunk(rig: Rig) -> None:
    whole = chunk(_FIRST + _FIRST)
    _expect_failure(rig, CHUNKED + whole[: whole.index(_FIRST) + len(_FIRST)])


@_clause("T9", "inside a chunk's size", "A cut right inside a chunk's size is ConnectionLost.")
def _raises_connection_lost_inside_a_chunk_size(rig: Rig) -> None:
    _expect_failure(rig, CHUNKED + chunk(_FIRST) + b"1")


@_clause("T9", "short of the length", "A body shorter than its Content-Length is ConnectionLost.")
def _raises_connection_lost_short_of_the_length(rig: Rig) -> None:
    _expect_failure(rig, head(headers={"Content-Length": str(2 * len(_FIRST))}) + _FIRST)
    _expect_error(rig, ConnectionLost, head(headers={"Content-Length": "5"}), caused=False)


@_clause("T9", "reset", "A connection that is reset is ConnectionLost.")
def _raises_connection_lost_on_a_reset(rig: Rig) -> None:
    _expect_failure(rig, CHUNKED + chunk(_FIRST), Reset())
    _expect_failure(rig, head(headers={"Content-Length": "99"}) + _FIRST, Reset())


@_clause("T9", "reset, close-delimited", "A body that ends with the connection is not whole when that is reset.")
def _raises_connection_lost_on_a_reset_of_a_close_delimited_body(rig: Rig) -> None:
    _expect_failure(rig, head(headers={"Connection": "close"}) + _FIRST, Reset())


@_clause("T9", "end of connection", "A body without length or chunks is whole when the connection ends.")
def _ends_a_close_delimited_body_with_the_connection(rig: Rig) -> None:
    with ScriptedServer([head(headers={"Connection": "close"}), _FIRST]) as server, rig.transport() as transport:
        body = fetch(transport, ask(server)).body
    expect(body == _FIRST, f"{_FIRST!r} was handed over as {body!r}")


@_clause("T9", "no body", "An answer that has no body is whole, whatever length it announces.")
def _expects_no_body_where_http_has_none(rig: Rig) -> None:
    for method, status in (("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)):
        response = head(status, {} if status == 204 else {"Content-Length": "5"})  # noqa: PLR2004 - RFC 9110, 8.6
        with ScriptedServer([response]) as server, rig.transport() as transport:
            got = fetch(transport, ask(server, method))
        expect(got.status == status, f"{status} was handed over as {got.status}")
        expect(got.body == b"", f"the response to {method} had the body {got.body!r}")


def _expect_timeout(rig: Rig, script: list[Step], default: float, own: float | None = None) -> None:
    with ScriptedServer(script) as server, rig.transport(default) as transport:
        request = attrs.evolve(ask(server), read_timeout=own)
        raised_by(TransportTimeout, lambda: fetch(transport, request))
        expect_disconnect(server, rig)


@_clause("T10", "before the head", "A server that does not answer is TransportTimeout.")
def _times_out_before_the_head(rig: Rig) -> None:
    _expect_timeout(rig, [Hold(rig.patience), plain(b"late")], _SHORT)


@_clause("T10", "inside the body", "A body that falls silent is TransportTimeout.")
def _times_out_inside_the_body(rig: Rig) -> None:
    _expect_timeout(rig, [CHUNKED, chunk(b"first\n"), Hold(rig.patience), chunk(b"")], _SHORT)


def _expect_drip_to_time_out(rig: Rig, before: bytes, drip: bytes, after: bytes) -> None:
    # Each silence is a twelfth of the limit, and all of them together are twice the limit.
    limit = 4 * _SHORT
    drips = [step for _ in range(24) for step in (Pause(limit / 12), drip)]
    _expect_timeout(rig, [before, *drips, after], limit)


@_clause("T10", "a head that drips", "A head that is not complete in time is TransportTimeout.")
def _times_out_inside_the_head(rig: Rig) -> None:
    _expect_drip_to_time_out(rig, b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", b"\r\nContent-Length: 0\r\n\r\n")


@_clause("T10", "interim responses", "Interim responses do not prolong the wait for the final one.")
def _times_out_between_interim_responses(rig: Rig) -> None:
    _expect_drip_to_time_out(rig, b"", b"HTTP/1.1 100 Continue\r\n\r\n", plain(b"late"))


@_clause("T10", "framing that drips", "Framing without a byte of the body is silence.")
def _times_out_inside_the_framing(rig: Rig) -> None:
    _expect_drip_to_time_out(rig, CHUNKED + chunk(b"first\n") + b"4;a=", b"b", b"\r\nlate\r\n0\r\n\r\n")


@_clause("T10", "of the request", "The read timeout of a request goes before the transport's own.")
def _prefers_the_timeout_of_the_request(rig: Rig) -> None:
    long = 10 * rig.patience
    _expect_timeout(rig, [Hold(rig.patience), plain(b"late")], long, _SHORT)
    _expect_timeout(rig, [CHUNKED, chunk(b"first\n"), Hold(rig.patience), chunk(b"")], long, _SHORT)


@_clause("T10", "without a limit", "A request with an infinite read timeout waits for its answer.")
def _waits_without_a_limit(rig: Rig) -> None:
    pause = Pause(3 * _SHORT)
    with ScriptedServer([pause, CHUNKED, pause, chunk(b"late") + chunk(b"")]) as server, rig.transport(_SHORT) as t:
        body = fetch(t, attrs.evolve(ask(server), read_timeout=math.inf)).body
    expect(body == b"late", f"the response was handed over as {body!r}")


@_clause("T10", "not in total", "An answer may take longer than the read timeout when no silence does.")
def _limits_no_total_time(rig: Rig) -> None:
    # Each silence is a fifth of the limit, and all eight together are more than one and a half times the limit.
    limit = 4 * _SHORT
    ticks = [step for _ in range(8) for step in (Pause(limit / 5), chunk(b"tick\n"))]
    with ScriptedServer([CHUNKED, *ticks, chunk(b"")]) as server, rig.transport(limit) as transport:
        body = fetch(transport, ask(server)).body
    expect(body == b"tick\n" * 8, f"{body.count(b'tick')} of 8 ticks were handed over")
