"""Answers of every odd shape, read to their verdict, whole and byte by byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
import pytest
from tests.support.server_recordings import NDJSON, RecordedAnswer, cut_at, read_answer, recorded_answers

from ollama_push.core.errors import (
    LineTooLong,
    MalformedLine,
    OllamaPushError,
    PushRejected,
    ServerError,
    StreamTruncated,
    UnexpectedContent,
)
from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.server.protocol import PushProtocol, PushState
from ollama_push.core.server.sentinels import NEED_DATA

_JSON: Final = {"content-type": "application/json; charset=utf-8"}
_HTML: Final = {"content-type": "text/html; charset=utf-8"}
_PAGE: Final = b"<html><title>502 Bad Gateway</title><h1>nginx</h1></html>"
_A: Final = StatusChanged("a")
_OK: Final = b'{"status":"success"}\n'
_DONE: Final = PushSucceeded()


@attrs.frozen
class Shape:
    """One answer and what it comes to: events, then a verdict (type, part of its text) or success."""

    body: bytes
    events: tuple[PushEvent, ...] = ()
    verdict: type[OllamaPushError] | None = None
    says: str = ""
    status: int = 200
    headers: Mapping[str, str] = NDJSON
    stream: bool = True


SHAPES: Final[dict[str, Shape]] = {
    "success": Shape(b'{"status":"a"}\n' + _OK, (_A, _DONE)),
    "blank lines": Shape(b'\n\r\n  \n{"status":"a"}\n\n' + _OK, (_A, _DONE)),
    "crlf": Shape(b'{"status":"a"}\r\n{"status":"success"}\r\n', (_A, _DONE)),
    "bom": Shape(b'\xef\xbb\xbf{"status":"a"}\n' + _OK, (_A, _DONE)),
    "no final newline": Shape(b'{"status":"a"}\n{"status":"success"}', (_A, _DONE)),
    "raw separators": Shape('{"status":"x\u2028y\x85z"}\n'.encode() + _OK, (StatusChanged("x\u2028y\x85z"), _DONE)),
    "lines after success": Shape(_OK + b'nope\n{"error":"no"}\n', (_DONE,)),
    "repeats": Shape(b'{"status":"a"}\n' * 3 + _OK, (_A, _A, _A, _DONE)),
    "absent completed": Shape(b'{"status":"p","digest":"d","total":5}\n' + _OK, (LayerProgress("d", 5, 0, "p"), _DONE)),
    "totals grow and shrink": Shape(
        b"".join(b'{"status":"p","digest":"d","total":%d,"completed":4}\n' % total for total in (5, 9, 3)) + _OK,
        (*(LayerProgress("d", total, 4, "p") for total in (5, 9, 3)), _DONE),
    ),
    "counters fall": Shape(
        b"".join(b'{"status":"p","digest":"d","total":9,"completed":%d}\n' % done for done in (8, 3, 9)) + _OK,
        (*(LayerProgress("d", 9, done, "p") for done in (8, 3, 9)), _DONE),
    ),
    "beyond 2**53": Shape(
        b'{"status":"p","digest":"d","total":9007199254740993,"completed":9007199254740993}\n' + _OK,
        (LayerProgress("d", 2**53 + 1, 2**53 + 1, "p"), _DONE),
    ),
    "all tensors": Shape(
        b'{"status":"pushing model","digest":"sha256:model","total":9,"completed":1}\n' + _OK,
        (LayerProgress("sha256:model", 9, 1, "pushing model"), _DONE),
    ),
    "nothing": Shape(b"", (), StreamTruncated, "before any status"),
    "only blank": Shape(b"\n\n", (), StreamTruncated, "before any status"),
    "no verdict": Shape(b'{"status":"a"}\n', (_A,), StreamTruncated, "after 'a'"),
    "half a line": Shape(b'{"status":"a"}\n{"stat', (_A,), MalformedLine, "not JSON"),
    "error": Shape(b'{"status":"a"}\n{"error":"no"}\n' + _OK, (_A,), PushRejected, "refused: no"),
    "error is an object": Shape(b'{"error":{"code":"DENIED"}}\n', (), PushRejected, '{"code": "DENIED"}'),
    "error is a number": Shape(b'{"error":7}\n', (), PushRejected, "refused: 7"),
    "error is empty": Shape(b'{"error":""}\n', (), PushRejected, "gave no text"),
    "error is null": Shape(b'{"error":null,"status":"success"}\n', (_DONE,)),
    "error beside success": Shape(b'{"error":"no","status":"success"}\n', (), PushRejected, "no"),
    "line is a list": Shape(b"[]\n", (), MalformedLine, "expected an object, not list"),
    "line is a text": Shape(b'"success"\n', (), MalformedLine, "expected an object, not str"),
    "line is null": Shape(b"null\n", (), MalformedLine, "expected an object, not NoneType"),
    "no status": Shape(b'{"digest":"d"}\n', (), MalformedLine, "neither status nor error"),
    "line too long": Shape(b'{"status":"a"}\n' + b"x" * 301 + b"\n", (_A,), LineTooLong),
    "html": Shape(_PAGE, (), UnexpectedContent, "It says: '502 Bad Gateway: nginx'", headers=_HTML),
    "html as ndjson": Shape(_PAGE, (), MalformedLine, "not JSON"),
    "accepted as text": Shape(b"ok", (), UnexpectedContent, "text/x-odd", 202, {"content-type": "text/x-odd"}),
    "gzip": Shape(
        b"\x1f\x8b\x08", (), UnexpectedContent, "content-encoding gzip", headers={**NDJSON, "content-encoding": "gzip"}
    ),
    "no content": Shape(b"", (), UnexpectedContent, "HTTP 204 with no content type", 204, {}),
    "accepted": Shape(_OK, (), UnexpectedContent, "HTTP 202", 202),
    "no content type": Shape(_OK, (_DONE,), headers={}),
    "text/plain": Shape(_OK, (_DONE,), headers={"content-type": "text/plain; charset=utf-8"}),
    # Asked for a stream, answered with one object: it is one line.
    "object for a stream": Shape(b'{"status":"success"}', (_DONE,), headers={**_JSON, "content-length": "20"}),
    "lines labelled as an object": Shape(b'{"status":"a"}\n' + _OK, (_A, _DONE), headers=_JSON),
    "error object for a stream": Shape(
        b'{"error":"no"}', (), PushRejected, "no", headers={**_JSON, "content-length": "14"}
    ),
    "object": Shape(b'{"status":"success"}', (_DONE,), headers=_JSON, stream=False),
    "object over several lines": Shape(b'{\n "status": "success"\n}\n', (_DONE,), headers=_JSON, stream=False),
    "object error": Shape(b'{"error":"no"}', (), PushRejected, "no", headers=_JSON, stream=False),
    "object without an end": Shape(b'{"status":"a"}', (_A,), StreamTruncated, "after 'a'", headers=_JSON, stream=False),
    "object too long": Shape(b" " * 301, (), LineTooLong, headers=_JSON, stream=False),
    # Servers before v0.1.2 stream whatever was asked for.
    "stream for an object": Shape(b'{"status":"a"}\n' + _OK, (_A, _DONE), stream=False),
    "object with a bare type": Shape(
        b'{\n "status": "success"\n}\n', (_DONE,), headers={"content-type": "application/json"}, stream=False
    ),
    "object with two parameters": Shape(
        b'{\n "status": "success"\n}\n',
        (_DONE,),
        headers={"content-type": "application/json; charset=utf-8; profile=x"},
        stream=False,
    ),
    "not quite a redirect": Shape(_OK, (), UnexpectedContent, "HTTP 299", 299),
    "choices": Shape(b"", (), ServerError, "HTTP 300", 300),
    "redirect": Shape(b"", (), ServerError, "redirected to /x", 307, {"location": "/x"}),
    "400 json": Shape(b'{"error":"model is required"}', (), ServerError, "HTTP 400: model is required", 400, _JSON),
    "404 text": Shape(b"404 page not found", (), ServerError, "HTTP 404: 404 page not found", 404),
    "502 html": Shape(_PAGE, (), ServerError, "HTTP 502: 502 Bad Gateway: nginx", 502, _HTML),
    "500 empty": Shape(b"", (), ServerError, "the server responded HTTP 500", 500),
    "500 lines": Shape(b'{"error":"no"}\n', (), ServerError, "HTTP 500: no", 500),
    "500 not streamed": Shape(b'{"error":"no"}', (), ServerError, "HTTP 500: no", 500, _JSON, stream=False),
    "401 with sign-in": Shape(
        b'{"error":"unauthorized","signin_url":"https://o/c"}', (), ServerError, "sign in at https://o/c", 401, _JSON
    ),
}


@pytest.mark.parametrize("by", ["whole", "bytes", "sevens", "with empty pieces"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_comes_to(shape: Shape, by: str) -> None:
    places = {
        "whole": (),
        "bytes": range(len(shape.body)),
        "sevens": range(0, len(shape.body), 7),
        "with empty pieces": (0, 0, 5, 5),
    }[by]
    pieces = cut_at(shape.body, places)
    reading = read_answer(pieces, shape.status, shape.headers, stream=shape.stream, max_line_bytes=300)
    assert reading.events == shape.events
    if shape.verdict is None:
        assert (reading.verdict, reading.state) == (None, PushState.SUCCEEDED)
    else:
        assert reading.verdict is not None
        kind, text = reading.verdict
        assert kind is shape.verdict
        assert shape.says in text


@pytest.mark.parametrize("recorded", recorded_answers(), ids=lambda recorded: recorded.name)
def test_a_real_servers_answer_ends_as_it_was_named(recorded: RecordedAnswer) -> None:
    reading = read_answer([recorded.body], recorded.status, recorded.headers, stream=recorded.streamed)
    kind = None if reading.verdict is None else reading.verdict[0]
    match recorded.name.partition("_")[0]:
        case "success":
            assert kind is None
            assert reading.events[-1] == _DONE
        case "reject":
            assert kind is ServerError
        case _:
            assert kind is (PushRejected if recorded.status == 200 else ServerError)


def test_a_refusal_is_waited_for_until_its_end_or_8_kib() -> None:
    machine = PushProtocol()
    machine.receive_head(500, {})
    machine.receive_data(b"a" * 8191)
    assert machine.next_event() is NEED_DATA
    machine.receive_data(b"b")
    with pytest.raises(ServerError):
        machine.next_event()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({}, None),
    ],
)
def test_a_refusal_carries_the_wait_it_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    machine = PushProtocol()
    machine.receive_head(503, headers)
    machine.receive_eof()
    with pytest.raises(ServerError) as caught:
        machine.next_event()
    assert caught.value.retry_after == seconds
