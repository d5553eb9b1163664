"""Responses as the bytes and steps of a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ollama_push.testing.steps import Step

__all__ = ["chunk", "head", "json_answer", "lines_answer"]


def head(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str | None = "application/x-ndjson",
    reason: str = "Scripted",
) -> bytes:
    """Return a response head; *headers* and the steps that follow frame the body."""
    fields = {**({"Content-Type": content_type} if content_type else {}), **(headers or {})}
    return "".join(
        [f"HTTP/1.1 {status} {reason}\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]
    ).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return *data* as one chunk (RFC 9112, 7.1); empty data is the last chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def lines_answer(lines: Iterable[bytes], *, end: bool = True) -> list[Step]:
    """Return the script of a streamed response: one chunk a line, newline added."""
    steps: list[Step] = [
        head(headers={"Transfer-Encoding": "chunked", "Connection": "close"}),
        *(chunk(line + b"\n") for line in lines),
    ]
    return [*steps, chunk(b"")] if end else steps


def json_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Step]:
    """Return the script of a single JSON response with its length."""
    fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    return [head(status, fields, content_type="application/json; charset=utf-8") + body]
