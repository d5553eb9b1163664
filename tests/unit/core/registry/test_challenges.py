"""Challenges: upstream's table, and what RFC 9110 allows beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from ollama_push.core.registry.challenges import Challenge, parse_challenges

_TABLES: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "data" / "cases" / "names.json").read_text("utf-8")
)["tables"]


@pytest.mark.parametrize("case", _TABLES["ParseRegistryChallenge"]["cases"], ids=lambda case: case["input"] or "empty")
def test_reads_challenges_as_upstream(case: dict[str, str]) -> None:
    challenge = next(iter(parse_challenges(case["input"])), Challenge("bearer"))
    assert (challenge.scheme, challenge.realm, challenge.service, challenge.scope) == (
        "bearer",
        case["realm"],
        case["service"],
        case["scope"],
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Basic", [("basic", {})]),
        ('BASIC Realm="a, b"', [("basic", {"realm": "a, b"})]),
        ('Basic realm="say \\"hi\\" \\\\"', [("basic", {"realm": 'say "hi" \\'})]),
        ("Basic realm=x , Bearer realm = y", [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("Negotiate YWJj==, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("Bearer a=1,a=2", [("bearer", {"a": "2"})]),
        ('Bearer scope="repository:a/b:pull,push"', [("bearer", {"scope": "repository:a/b:pull,push"})]),
        (" , ,", []),
        ('"x"', []),
        ('Basic realm="x", "broken', [("basic", {"realm": "x"})]),
        ('Basic realm="never closed', [("basic", {}), ("realm", {})]),
        ("a=b", [("a", {})]),
    ],
)
def test_reads(text: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(text) == tuple(Challenge(scheme, parameters) for scheme, parameters in expected)
