"""Odd lines in an answer that is otherwise in order."""

from __future__ import annotations

from typing import Final

from tests.catalogue.case import CHUNKED, CLOSED, START, SUCCESS, Case, lines, told
from tests.support.refusals import refused
from tests.support.server_push import Expected

from ollama_push.core.errors import LineTooLong, MalformedLine, StreamTruncated
from ollama_push.core.server.ndjson import MAX_LINE_BYTES
from ollama_push.testing.server import chunk

__all__ = ["CASES"]

_RECEIPT: Final = Expected(2)


def _malformed(line: str, problem: str, events: int = 1) -> Expected:
    return Expected(events, MalformedLine(line, problem))


CASES: Final = (
    # --- the error line
    Case(
        "error line after HTTP 200",
        told(START, b'{"error":"unauthorized: access denied"}'),
        Expected(1, refused("unauthorized: access denied")),
    ),
    Case(
        "error as the very first line",
        told(b'{"error":"file does not exist"}'),
        Expected(0, refused("file does not exist")),
    ),
    Case(
        "error is an object",
        told(START, b'{"error":{"code":5,"message":"no"}}'),
        Expected(1, refused('{"code": 5, "message": "no"}')),
    ),
    Case("error is an empty text", told(START, b'{"error":""}'), Expected(1, refused(""))),
    Case("error is a number", told(START, b'{"error":7}'), Expected(1, refused("7"))),
    Case("error is false", told(START, b'{"error":false}'), Expected(1, refused("false"))),
    Case("error is a list", told(START, b'{"error":["a","b"]}'), Expected(1, refused('["a", "b"]'))),
    Case("error is null beside a status", told(b'{"error":null,"status":"a"}', SUCCESS), _RECEIPT),
    Case(
        "error and success in one line",
        told(START, b'{"error":"no","status":"success"}'),
        Expected(1, refused("no")),
    ),
    Case(
        "error that quotes a presigned URL",
        told(START, b'{"error":"Put \\"https://s3.test/b?X-Amz-Signature=abc\\": EOF"}'),
        Expected(1, refused('Put "https://s3.test/b?<hidden>": EOF')),
    ),
    Case(
        "error of a megabyte",
        told(START, b'{"error":"%s"}' % (b"x" * 1_000_000)),
        Expected(1, refused("x" * 1_000_000)),
    ),
    # --- nothing where a line should be
    Case("blank lines between lines", told(b"", START, b"", b" \t", SUCCESS), _RECEIPT),
    Case("byte order mark before the first line", told(b"\xef\xbb\xbf" + START, SUCCESS), _RECEIPT),
    Case("CRLF line ends", told(START + b"\r", SUCCESS + b"\r"), _RECEIPT),
    Case("no newline after success", [CLOSED, lines(START), SUCCESS], _RECEIPT),
    Case("no newline after an error", [CLOSED, lines(START), b'{"error":"no"}'], Expected(1, refused("no"))),
    # --- no object
    Case("a list", told(START, b"[1]", SUCCESS), _malformed("[1]", "expected an object, not list")),
    Case("a string", told(START, b'"success"', SUCCESS), _malformed('"success"', "expected an object, not str")),
    Case("null", told(START, b"null", SUCCESS), _malformed("null", "expected an object, not NoneType")),
    Case("a number", told(START, b"5", SUCCESS), _malformed("5", "expected an object, not int")),
    Case(
        "a word, then success",
        told(START, b"nope", SUCCESS),
        _malformed("nope", "not JSON: Expecting value: line 1 column 1 (char 0)"),
    ),
    Case(
        "server-sent events in a stream of lines",
        told(b"data: " + START, b"", b"data: " + SUCCESS),
        _malformed(f"data: {START.decode()}", "not JSON: Expecting value: line 1 column 1 (char 0)", 0),
    ),
    Case(
        "two objects on one line",
        told(START + SUCCESS),
        _malformed((START + SUCCESS).decode(), "not JSON: Extra data: line 1 column 33 (char 32)", 0),
    ),
    Case(
        "half a line, then a clean end",
        [*told(START, end=False), chunk(b'{"status":"succ'), chunk(b"")],
        _malformed('{"status":"succ', "not JSON: Unterminated string starting at: line 1 column 11 (char 10)"),
    ),
    Case(
        "nested a hundred thousand deep",
        told(START, b'{"status":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        _malformed('{"status":' + "[" * 190, "not JSON: nested too deeply"),
    ),
    # --- an object, but not of this protocol
    Case("an empty object", told(START, b"{}"), _malformed("{}", "neither status nor error")),
    Case(
        "no status",
        told(b'{"digest":"sha256:aa"}'),
        _malformed('{"digest":"sha256:aa"}', "neither status nor error", 0),
    ),
    Case("status is a number", told(b'{"status":5}'), _malformed('{"status":5}', "expected str or null, not int", 0)),
    Case("success in upper case", told(b'{"status":"SUCCESS"}'), Expected(1, StreamTruncated("SUCCESS"))),
    Case("success with a space", told(b'{"status":"success "}'), Expected(1, StreamTruncated("success "))),
    Case(
        "the key in upper case",
        told(b'{"Status":"success"}'),
        _malformed('{"Status":"success"}', "neither status nor error", 0),
    ),
    Case("unknown keys beside the known", told(b'{"status":"a","percent":0.5,"x":[{}]}', SUCCESS), _RECEIPT),
    Case("success with a digest", told(START, b'{"status":"success","digest":"sha256:aa","total":5}'), _RECEIPT),
    # --- text
    Case(
        "U+2028, U+2029 and U+0085 inside a text", told('{"status":"a\u2028b\u2029c\x85d"}'.encode(), SUCCESS), _RECEIPT
    ),
    Case(
        "a character cut in two by chunks",
        [CHUNKED, chunk(b'{"status":"ol\xc3'), chunk(b'\xa9"}\n'), *told(SUCCESS)[1:]],
        _RECEIPT,
    ),
    Case(
        "no UTF-8",
        told(START, b'{"status":"\xff"}'),
        _malformed(
            '{"status":"\ufffd"}', "not JSON: 'utf-8' codec can't decode byte 0xff in position 11: invalid start byte"
        ),
    ),
    Case("half a surrogate pair", told(b'{"status":"\\ud83d"}', SUCCESS), _RECEIPT),
    # --- cutting
    Case("all lines in one chunk", [CHUNKED, chunk(lines(START, SUCCESS)), chunk(b"")], _RECEIPT),
    Case(
        "a chunk for every byte",
        [CHUNKED, *(chunk(bytes([byte])) for byte in lines(START, SUCCESS)), chunk(b"")],
        _RECEIPT,
    ),
    Case("a line of a megabyte", told(b'{"status":"%s"}' % (b"x" * 1_000_000), SUCCESS), _RECEIPT),
    Case(
        "a line of more than eight megabytes",
        told(START, b'{"status":"%s"}' % (b"x" * MAX_LINE_BYTES), SUCCESS),
        Expected(1, LineTooLong(MAX_LINE_BYTES, 0)),
    ),
    Case(
        "more than eight megabytes without a newline",
        [CLOSED, lines(START), b"x" * (MAX_LINE_BYTES + 1)],
        Expected(1, LineTooLong(MAX_LINE_BYTES, 0)),
    ),
)
