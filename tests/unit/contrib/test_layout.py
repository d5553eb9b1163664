"""Bars on terminals of any width: what fits, and what is left of wider ones when a terminal becomes narrower."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.support.push_run import PUSH, Driven, tick

from ollama_push.contrib.progress import RichProgress

BEGIN = "\r\x1b[J\x1b[?25l\n"
"""Everything below the row where the cursor waits is erased, and one row stays empty for others."""


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


def rows(drawn: str) -> list[str]:
    """Return the rows of a picture, which is drawn below the waiting cursor, to which it returns."""
    assert drawn.startswith(BEGIN)
    *lines, back = drawn.removeprefix(BEGIN).split("\n")
    assert back == f"\x1b[{len(lines) + 1}A"
    return lines


def test_whatever_a_narrower_terminal_made_of_the_rows_is_erased() -> None:
    drawing = Drawing(80)
    for width in (80, 38, 38, 30, 120):
        assert {len(row) for row in rows(drawing.next(width))} == {width - 2}
    drawing.end()


def test_a_picture_that_is_higher_than_the_terminal_is_cut_so_that_the_cursor_finds_back() -> None:
    drawing = Drawing(80)
    drawing.console.height = 4
    assert len(rows(drawing.next(80))) == 2
    drawing.end()
    last = drawing.file.getvalue().rpartition("\x1b[J")[2]
    assert last.endswith("\x1b[?25h")
    assert last.count("\n") == 3, "the last picture is whole"


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
    lines = rows(drawing.next(width))
    assert [fact for fact in (" B of 2.0 kB", "/s", " left") if fact in lines[0]] == facts
    assert "%" in lines[0]
    assert len(lines) == 3
    drawing.end()


def test_a_long_name_shows_its_end() -> None:
    drawing = Drawing(60)
    first = rows(drawing.next(60))[0]
    name = first.split(" ")[0]
    assert len(name) == 16
    assert PUSH.model.endswith(name.removeprefix("\N{HORIZONTAL ELLIPSIS}"))
    drawing.end()
