"""How far a registry says it is, and what its answers to a body mean."""

from __future__ import annotations

import pytest
from tests.support.scripted_flow import refuse, response

from ollama_push.core.registry.blob_upload.responses import (
    AFTER_COMMIT,
    AFTER_PART,
    ANY_DEFINITE,
    PRESENT,
    bytes_arrived,
    refuses_parts,
)
from ollama_push.core.retry import TRANSIENT_STATUSES


@pytest.mark.parametrize(
    ("text", "arrived"),
    [
        ("0-0", 1),
        ("0-1023", 1024),
        (" bytes=0-9 ", 10),
        ("bytes 0-9", 10),
        ("0--1", 0),
        ("0--5", 0),
        ("1-9", None),
        ("0-", None),
        ("0-9/10", None),
        ("9", None),
        ("", None),
        ("0-1234567890123456789", None),
        ("0-\u0661", None),
    ],
)
def test_how_far_an_upload_is(text: str, arrived: int | None) -> None:
    assert bytes_arrived(response(202, {"range": text})) == arrived


def test_without_a_range_nothing_is_said() -> None:
    assert bytes_arrived(response(202)) is None


def test_a_registry_that_takes_only_whole_blobs_says_so() -> None:
    assert refuses_parts(refuse(400, "UNSUPPORTED"))
    assert not refuses_parts(refuse(400, "BLOB_UPLOAD_INVALID"))
    assert not refuses_parts(response(400, {}, b"UNSUPPORTED"))


def test_no_status_means_two_things() -> None:
    assert not PRESENT & {404, 405, 501}
    assert not TRANSIENT_STATUSES & set(ANY_DEFINITE)
    assert not TRANSIENT_STATUSES & (set(AFTER_PART) | set(AFTER_COMMIT))
