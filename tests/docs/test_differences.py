"""The page names every difference between our answers and a real server's, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.gateway import parse
from tests.support.gateway_recordings import DIFFERENCES, RECORDINGS, Difference
from tests.support.push_responses import Told

from ollama_push.testing.recordings import Recording

_PAGE: Final = Path(__file__).parents[2] / "docs" / "gateway.md"
_STORE: Final = "/usr/share/ollama/.ollama/models"  # as recorded


def row(each: Difference) -> str:
    """Return the line of the page's table."""
    real = Told.of(parse(Recording.load(RECORDINGS / f"{each.recording}.json").raw), "localhost:5001", _STORE)
    nothing = {"error": "no error", "counters": "no counters"}
    # Two backticks: the texts hold single ones.
    texts = "<br>".join(f"`` {text} ``" if text else nothing[each.part] for text in (real.part(each.part), each.ours))
    return f"| `{each.recording.removeprefix('error_')}` | {texts} | {each.reason} |"


def test_the_page_lists_every_difference_as_it_is() -> None:
    listed = [line for line in _PAGE.read_text("utf-8").splitlines() if "<br>" in line and line.startswith("| `")]
    assert listed == [row(each) for each in DIFFERENCES]
