"""The request as data: what it shows, what it hides, which bodies it takes."""

from __future__ import annotations

from collections.abc import Iterator

from ollama_push.core.ports import HttpRequest, SizedBody


class _Spans:
    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[bytes]:
        yield b"abc"


def test_a_request_hides_secrets() -> None:
    request = HttpRequest(
        "PUT",
        "https://example.com/v2?token=hush",
        {"Authorization": "Bearer hush", "X-Api-Key": "hush", "Accept": "text/plain"},
        b'{"password": "hush"}',
    )
    assert "hush" not in repr(request)
    assert "'Accept': 'text/plain'" in repr(request)
    assert "body=<20 bytes>" in repr(request)


def test_a_plain_request_has_no_body_and_the_transports_timeout() -> None:
    request = HttpRequest("GET", "http://h/")
    assert (request.body, dict(request.headers), request.read_timeout) == (b"", {}, None)


def test_a_sized_body_is_recognised_by_its_shape() -> None:
    assert isinstance(_Spans(), SizedBody)
    assert not isinstance(iter([b""]), SizedBody)
    assert repr(HttpRequest("PUT", "http://h/", body=_Spans())).count("<3 bytes>") == 1
