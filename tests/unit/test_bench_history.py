"""The history of the benchmark: what a run appends, and the picture that is drawn from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from bench.history import HISTORY, Ratio, append, picture, ratios_now, read


def _ratio(name: str, ratio: float, date: str = "2026-11-29") -> Ratio:
    return Ratio(date, "0a65316", "2 cores", name, ratio)


def test_what_is_appended_is_read_again_behind_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append([_ratio("a", 0.5)], file)
    append([_ratio("a", 0.25), _ratio("b", 2.0)], file)
    assert read(file) == [_ratio("a", 0.5), _ratio("a", 0.25), _ratio("b", 2.0)]
    assert [json.loads(line)["ratio"] for line in file.read_text().splitlines()] == [0.5, 0.25, 2.0]
    assert (tmp_path / "history.svg").read_text() == picture(read(file))


def test_a_figure_says_when_on_what_and_of_which_commit() -> None:
    [ratio] = ratios_now({"a": 0.12345})
    assert (ratio.name, ratio.ratio) == ("a", 0.123)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", ratio.date)
    assert re.fullmatch(r"(?:[0-9a-f]{7,}\+?)?", ratio.commit)  # empty in an unpacked archive
    assert re.fullmatch(r"\d+ cores, \d+ GiB, \w+, Python 3\.\d+\.\S+", ratio.machine)


def test_the_picture_has_a_row_for_each_figure_and_a_point_for_each_run() -> None:
    drawn = ET.fromstring(picture([_ratio("a < b", 0.5), _ratio("c", 0.0), _ratio("a < b", 0.25)]))
    svg = "{http://www.w3.org/2000/svg}"
    texts = ["".join(text.itertext()) for text in drawn.iter(f"{svg}text")][1:]
    assert texts == ["a < b", "0.25 x", "c", "0.00 x"]
    heights = [float(circle.attrib["cy"]) for circle in drawn.iter(f"{svg}circle")]
    assert heights[0] < heights[1]


def test_the_picture_that_is_kept_is_that_of_the_history() -> None:
    assert HISTORY.with_suffix(".svg").read_text("utf-8") == picture(read())
