"""``python -m tests.verdicts`` shows our verdict beside the official client's, and counts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def verdicts(*words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.verdicts", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_verdicts_are_shown_side_by_side() -> None:
    head, refused, empty, garbage, truncated, theirs, ours = verdicts(
        "error line after", "error is an empty", "framing: a last chunk, no success", "a word, then"
    )
    assert re.split(r" {2,}", head)[:2] == ["what the server does", "ollama-push"]
    assert re.search(r"PushRejected: .* ResponseError: unauthorized", refused)
    assert re.search(r"PushRejected: .* OK$", empty)
    assert re.search(r"MalformedLine: .* JSONDecodeError: ", garbage)
    assert re.search(r"StreamTruncated: .* OK$", truncated)
    assert theirs.endswith("of 3 failed pushes, 2 reported as OK, 0 never reported")
    assert ours == "ollama-push: of 3 failed pushes, 0 reported as OK, 0 never reported"


def test_a_client_that_waits_for_ever_is_cut_off() -> None:
    _head, silent, theirs, ours = verdicts("silent after a line")
    assert re.search(r"TransportTimeout: .* hangs$", silent)
    assert theirs.endswith("of 1 failed pushes, 0 reported as OK, 1 never reported")
    assert ours.endswith("of 1 failed pushes, 0 reported as OK, 0 never reported")


def test_columns_are_aligned_within_a_screen() -> None:
    table = verdicts("counters")[:-2]
    assert len(table) > 20
    assert all(len(row) <= 120 for row in table)
    assert all(row[42:44] == "  " and row[81:83] == "  " for row in table)
