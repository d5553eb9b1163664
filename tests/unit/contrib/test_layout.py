"""Bars on terminals of any width: what fits, and what is left of wider ones when a terminal becomes narrower."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.support.push_run import PUSH, Driven, tick

from ollama_push.contrib.progress import RichProgress

UP = "\x1b[1A\x1b[2K"


class Drawing:
    """Bars of one push with two layers, on a terminal whose width can change."""

    def __init__(self, width: int) -> None:
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, width=width, force_terminal=True, color_system=None, legacy_windows=False, _environ={}
        )
        self.push = Driven(hooks=[RichProgress(self.console, 0.0, expected_bytes=2000, clock=lambda: 0.0)])
        self.push.begin()
        self.push.feed(tick(100, 1000, "sha256:a"))
        self.push.feed(tick(100, 1000, "sha256:b"))
        self.completed = 100

    def next(self, width: int) -> str:
        """Return what is written for the next bytes, on a terminal of *width* columns."""
        self.console.width = width
        before = self.file.tell()
        self.completed += 50
        self.push.clock.now += 1.0
        self.push.feed(tick(self.completed, 1000, "sha256:b"))
        return self.file.getvalue()[before:]

    def end(self) -> None:
        self.push.run.close()


def test_the_rows_that_a_narrower_terminal_made_of_the_lines_are_taken_away() -> None:
    drawing = Drawing(80)
    # 78 columns were written in each of the 3 lines: on 38 that is 3 rows.
    for width, rows in ((80, 3), (38, 9), (38, 3), (30, 6), (120, 3)):
        drawn = drawing.next(width)
        assert drawn.count(UP) == rows - 1
        assert max(map(len, drawn.rpartition(UP)[2].splitlines())) == width - 2
    drawing.end()


@pytest.mark.parametrize(
    ("width", "facts"),
    [
        (34, []),
        (40, []),
        (48, [" left"]),
        (60, ["/s", " left"]),
        (76, ["/s", " left"]),
        (77, [" B of 2.0 kB", "/s", " left"]),
        (200, [" B of 2.0 kB", "/s", " left"]),
    ],
)
def test_what_has_no_room_is_left_out(width: int, facts: list[str]) -> None:
    drawing = Drawing(width)
    lines = drawing.next(width).rpartition(UP)[2].splitlines()
    assert [fact for fact in (" B of 2.0 kB", "/s", " left") if fact in lines[0]] == facts
    assert "%" in lines[0]
    assert len(lines) == 3
    drawing.end()


def test_a_long_name_shows_its_end() -> None:
    drawing = Drawing(60)
    first = drawing.next(60).rpartition(UP)[2].splitlines()[0]
    name = first.split(" ")[0]
    assert len(name) == 16
    assert PUSH.model.endswith(name.removeprefix("\N{HORIZONTAL ELLIPSIS}"))
    drawing.end()
