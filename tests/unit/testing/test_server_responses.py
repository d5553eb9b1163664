"""Responses as bytes, and what a client reads from them."""

from __future__ import annotations

from ollama_push.testing.server import chunk, head, json_answer, lines_answer


def test_a_head_is_streamed_json_unless_told_otherwise() -> None:
    assert head() == b"HTTP/1.1 200 Scripted\r\nContent-Type: application/x-ndjson\r\n\r\n"
    assert head(404, {"X": "1"}, content_type=None, reason="No") == b"HTTP/1.1 404 No\r\nX: 1\r\n\r\n"


def test_a_chunk_has_its_size_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert chunk(b"") == b"0\r\n\r\n"


def test_lines_are_a_chunk_each_and_end_only_when_wanted() -> None:
    start = head(headers={"Transfer-Encoding": "chunked", "Connection": "close"})
    assert lines_answer([b"a", b"b"]) == [start, b"2\r\na\n\r\n", b"2\r\nb\n\r\n", b"0\r\n\r\n"]
    assert lines_answer([b"a"], end=False) == [start, b"2\r\na\n\r\n"]


def test_a_single_answer_has_its_length() -> None:
    fields = {"Content-Length": "2", "Connection": "close", "X": "1"}
    whole = head(500, fields, content_type="application/json; charset=utf-8") + b"{}"
    assert json_answer(b"{}", 500, {"X": "1"}) == [whole]
