"""Digests: both of Ollama's spellings in, one out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from ollama_push.core.registry.manifests import checked_digest, digest_of, hex_of, short_digest

_TABLES: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "data" / "cases" / "names.json").read_text("utf-8")
)["tables"]
# An empty digest means the folder of blobs upstream; here it is no digest.
_CASES: Final = [case for case in _TABLES["GetBlobsPath"]["cases"] if case["input"]]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case["name"])
def test_takes_what_upstream_takes(case: dict[str, str]) -> None:
    if "expected_error" in case:
        with pytest.raises(ValueError, match=case["expected_error"]):
            checked_digest(case["input"])
    else:
        assert case["expected"] == f"<M>/blobs/sha256-{hex_of(checked_digest(case['input']))}"


@pytest.mark.parametrize("text", ["", "sha256:", f"sha512:{'a' * 64}", f"sha256:{'g' * 64}", f"sha256:{'a' * 64}\n"])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="invalid digest format"):
        checked_digest(text)


def test_is_spelled_in_lower_case_with_a_colon() -> None:
    assert checked_digest(f"sha256-{'AB' * 32}") == f"sha256:{'ab' * 32}"


def test_digest_of_nothing() -> None:
    assert digest_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_is_shown_by_its_first_digits() -> None:
    assert short_digest(f"sha256:0123456789ab{'c' * 52}") == "0123456789ab"
    assert short_digest("sha256:model") == "model"
