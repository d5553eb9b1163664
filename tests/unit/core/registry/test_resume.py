"""What is remembered of an unfinished upload shows no secret."""

from __future__ import annotations

import hashlib

import pytest

from ollama_push.core.registry.resume import ResumePoint, SentPart, UploadKey, decode_parts, encode_parts


def test_a_signed_location_is_not_shown() -> None:
    saved = ResumePoint("https://u:pw@store.test/u?X-Amz-Signature=5ecret", 7)
    assert "5ecret" not in repr(saved)
    assert "pw" not in repr(saved)
    assert "store.test" in repr(saved)
    assert "7" in repr(saved)


def test_keys_are_equal_by_content() -> None:
    key = UploadKey("https://h", "a/b", "sha256:a")
    assert {key: 1}[UploadKey("https://h", "a/b", "sha256:a")] == 1
    assert key != UploadKey("http://h", "a/b", "sha256:a")


def test_no_query_of_a_location_is_shown() -> None:
    """Distribution's ``_state`` is what lets one write to the session."""
    shown = repr(ResumePoint("https://reg.test/v2/a/b/blobs/uploads/1?_state=5ecret&x=0ther", 7))
    assert "https://reg.test/v2/a/b/blobs/uploads/1'" in shown
    assert "?" not in shown
    assert "5ecret" not in shown
    assert "0ther" not in shown


def test_each_part_of_a_key_is_in_its_id() -> None:
    key = UploadKey("https://h", "a/b", "sha256:a")
    others = [key._replace(origin="http://h"), key._replace(repository="a"), key._replace(digest="sha256:b")]
    ids = {key.id, *(other.id for other in others)}
    assert len(ids) == 4
    assert all(len(one) == 64 and one.isalnum() for one in ids)


def test_parts_are_kept_as_a_line_of_text() -> None:
    parts = (SentPart("https://reg.test/u?n=\N{SNOWMAN}", 0, 7, "0f" * 16), SentPart("https://reg.test/u", 7, 1))
    text = encode_parts(parts)
    assert "\n" not in text
    assert decode_parts(text) == parts
    assert encode_parts(()) == ""
    assert decode_parts("") == ()


@pytest.mark.parametrize("text", ["{", "{}", "1", '[["u",0,1]]', '[["u",0,1,null]]', '[["u",true,1,""]]', '["u"]'])
def test_other_texts_are_no_parts(text: str) -> None:
    with pytest.raises(ValueError):
        decode_parts(text)


def test_nothing_behind_the_first_question_mark_is_shown() -> None:
    assert "5ecret" not in repr(ResumePoint("https://reg.test/u?a=5ecret?b=1", 7))


def test_an_upload_is_called_the_same_by_every_version() -> None:
    """It names files on disk and keys in Redis: an upload that an older version left is to be found."""
    key = UploadKey("https://h", "a/b", "sha256:a")
    assert key.id == hashlib.sha256(b"https://h\na/b\nsha256:a").hexdigest()
