"""Counters that fall, overflow, are absent, or are none."""

from __future__ import annotations

from typing import Final

from tests.catalogue.case import START, SUCCESS, Case, tick, told
from tests.support.refusals import refused
from tests.support.server_push import Expected

from ollama_push.core.errors import MalformedLine, StreamTruncated

__all__ = ["CASES"]

_OTHER: Final = "sha256:bb"
_BLANK: Final = b'{"status":"pushing aa","digest":""}'


def _malformed(line: bytes, problem: str) -> Expected:
    return Expected(1, MalformedLine(line.decode(), problem))


CASES: Final = (
    Case(
        "completed falls",
        told(START, tick(80), tick(30), tick(100), SUCCESS),
        Expected(5, layers=(("sha256:aa", 100),)),
    ),
    Case(
        "completed falls to nothing",
        told(tick(80), tick(None), tick(100), SUCCESS),
        Expected(4, layers=(("sha256:aa", 100),)),
    ),
    Case("completed exceeds the total", told(tick(132_868), SUCCESS), Expected(2, layers=(("sha256:aa", 100),))),
    Case("success before the last byte", told(tick(30), SUCCESS), Expected(2, layers=(("sha256:aa", 100),))),
    Case("completed absent", told(tick(None), tick(None), SUCCESS), Expected(3, layers=(("sha256:aa", 100),))),
    Case("total absent", told(tick(5, None), tick(5, 100), SUCCESS), Expected(3, layers=(("sha256:aa", 100),))),
    Case("an empty layer", told(tick(None, None), SUCCESS), Expected(2, layers=(("sha256:aa", 0),))),
    Case("total grows", told(tick(5, 10), tick(5, 20), SUCCESS), Expected(3, layers=(("sha256:aa", 20),))),
    Case("total shrinks", told(tick(5, 20), tick(5, 10), SUCCESS), Expected(3, layers=(("sha256:aa", 10),))),
    Case(
        "counters above 2**31",
        told(tick(1, 7_000_000_000), SUCCESS),
        Expected(2, layers=(("sha256:aa", 7_000_000_000),)),
    ),
    Case("counters above 2**53", told(tick(1, 2**53 + 1), SUCCESS), Expected(2, layers=(("sha256:aa", 2**53 + 1),))),
    Case("counters above 2**63", told(tick(1, 2**63), SUCCESS), Expected(2, layers=(("sha256:aa", 2**63),))),
    Case("counters above 2**64", told(tick(1, 2**64), SUCCESS), Expected(2, layers=(("sha256:aa", 2**64),))),
    Case("counters below nothing", told(tick(-1, -5), SUCCESS), Expected(2, layers=(("sha256:aa", 0),))),
    Case("a counter is a text", told(START, tick('"5"')), _malformed(tick('"5"'), "expected int or null, not str")),
    Case("a counter is true", told(START, tick("true")), _malformed(tick("true"), "expected int or null, not bool")),
    Case(
        "a counter is a fraction", told(START, tick("1.0")), _malformed(tick("1.0"), "expected int or null, not float")
    ),
    Case("a counter is NaN", told(START, tick("NaN")), _malformed(tick("NaN"), "not JSON: NaN is not JSON")),
    Case(
        "the aggregate digest of tensors",
        told(tick(5, 10, "sha256:model"), SUCCESS),
        Expected(2, layers=(("sha256:model", 10),)),
    ),
    Case("a digest that is none", told(tick(5, 10, "layer one"), SUCCESS), Expected(2, layers=(("layer one", 10),))),
    Case("an empty digest", told(_BLANK, SUCCESS), Expected(2)),
    Case(
        "layers that take turns",
        told(tick(1), tick(1, 7, _OTHER), tick(100), tick(7, 7, _OTHER), SUCCESS),
        Expected(5, layers=(("sha256:aa", 100), (_OTHER, 7))),
    ),
    Case(
        "an error after a hundred per cent",
        told(START, tick(100), b'{"error":"400: MANIFEST_BLOB_UNKNOWN"}'),
        Expected(2, refused("400: MANIFEST_BLOB_UNKNOWN")),
    ),
    Case("a hundred per cent and then the end", told(START, tick(100)), Expected(2, StreamTruncated("pushing aa"))),
)
