from __future__ import annotations

import hashlib

import pytest
from tests.support.scripted_flow import response

from ollama_push.core.registry.blob_upload.offers import (
    DirectOffer,
    Redirects,
    etag_of,
    follow_each_other,
    is_redirect,
    part_spans,
)
from ollama_push.core.registry.resume import SentPart

MB = 1_000_000


@pytest.mark.parametrize(
    ("size", "number", "first"),
    [
        (0, 0, 0),
        (1, 1, 1),
        (100 * MB, 1, 100 * MB),
        (100 * MB + 1, 2, 100 * MB),
        (1600 * MB, 16, 100 * MB),
        (1760 * MB, 16, 110 * MB),
        (16_000 * MB, 16, 1000 * MB),
        (20_000 * MB, 20, 1000 * MB),
        (11_000_000 * MB, 10_000, 1100 * MB),
    ],
)
def test_parts_are_cut_as_ollama_cuts_them_and_not_more_than_storage_takes(size: int, number: int, first: int) -> None:
    spans = part_spans(0, size, None)
    assert len(spans) == number
    assert sum(length for _offset, length in spans) == size
    assert not spans or spans[0] == (0, first)


def test_parts_after_those_that_were_sent_begin_where_those_end() -> None:
    assert part_spans(20, 45, 10) == [(20, 10), (30, 10), (40, 5)]


def test_the_etag_is_that_of_object_stores() -> None:
    parts = [hashlib.md5(data, usedforsecurity=False) for data in (b"a", b"b")]
    joined = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False).hexdigest()
    assert etag_of([part.hexdigest() for part in parts]) == f"{joined}-2"
    assert etag_of([]) == "d41d8cd98f00b204e9800998ecf8427e-0"


def test_a_direct_offer_has_the_headers_that_were_signed_but_none_that_frame_a_request_or_log_in() -> None:
    offer = DirectOffer.of(
        response(
            202,
            {
                "x-direct-upload-url": "https://storage.test/x?sig=1",
                "x-signed-header-x-amz-checksum": "abc",
                "x-signed-header-host": "elsewhere",
                "x-signed-header-content-length": "1",
                "x-signed-header-authorization": "Basic eDp5",
                "x-other": "1",
            },
        )
    )
    assert offer == DirectOffer("https://storage.test/x?sig=1", {"x-amz-checksum": "abc"})
    assert "sig" not in repr(offer)
    assert DirectOffer.of(response(202, {"location": "/u"})) is None


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ],
)
def test_no_header_that_frames_a_request_or_says_whose_it_is_is_signed_for_us(name: str) -> None:
    headers = {"x-direct-upload-url": "https://storage.test/x", f"x-signed-header-{name}": "1"}
    assert DirectOffer.of(response(202, headers)) == DirectOffer("https://storage.test/x", {})


def test_what_was_signed_is_not_shown() -> None:
    headers = {"x-direct-upload-url": "https://storage.test/x", "x-signed-header-x-amz-security-token": "5ecret"}
    offer = DirectOffer.of(response(202, headers))
    assert offer is not None
    assert offer.headers == {"x-amz-security-token": "5ecret"}
    assert "5ecret" not in repr(offer)


def test_what_only_ollamas_registry_knows_is_not_asked_for_unless_it_is_that() -> None:
    assert not Redirects().asks_for_blobs


def test_a_redirect_names_the_next_session_beside_the_signed_url() -> None:
    both = {"location": "https://storage.test/x", "docker-upload-location": "/u"}
    assert is_redirect(response(307, both))
    assert not is_redirect(response(307, {"location": "/u"}))
    assert not is_redirect(response(202, both))


def test_what_was_refused_is_not_asked_for_again() -> None:
    redirects = Redirects()
    assert redirects.opening_headers(7) == {"X-Redirect-Uploads": "2", "X-Content-Length": "7"}
    assert redirects.part_headers() == {"X-Redirect-Uploads": "1"}
    redirects.whole = redirects.parts = False
    assert redirects.opening_headers(7) == {}
    assert redirects.part_headers() == {}
    assert not redirects.are_offered(response(202, {"docker-upload-location": "/u"}))


@pytest.mark.parametrize(
    ("parts", "do"),
    [
        ([(0, 1), (1, 1)], True),
        ([(0, 5), (5, 5)], True),
        ([(0, 10)], True),
        ([(0, 5), (6, 4)], False),
        ([(0, 11)], False),
        ([(0, 0)], False),
    ],
)
def test_parts_that_were_kept_must_follow_each_other(parts: list[tuple[int, int]], *, do: bool) -> None:
    assert follow_each_other([SentPart("https://r.test/u", *part) for part in parts], 10) is do
