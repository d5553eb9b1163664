"""Draws the layers of the import contracts as one SVG: a box for each module, above what it may import."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import attrs

__all__ = ["PICTURE", "contracts", "drawn"]

ROOT: Final = Path(__file__).parents[1]
PICTURE: Final = ROOT / "docs" / "architecture.svg"
PACKAGE: Final = "ollama_push"

_LETTER: Final = 7.3
"""Width of a letter of the font at its size; it is monospaced."""
_LINE: Final = 26.0
_PAD: Final = 8.0
_GAP: Final = 8.0
_FILLS: Final = ("#ffffff", "#eef3fb", "#dbe6f6", "#c6d8f0", "#b1caea")
"""By depth: the deeper, the darker."""


@attrs.define
class Box:
    """A module, with the rows of its own contract inside.

    Attributes:
        name: Last part of the module's name.
        rows: Top to bottom.
        width: Least width that holds all of it; ``height`` likewise.
    """

    name: str
    rows: list[Row]
    width: float = 0.0
    height: float = 0.0

    def __attrs_post_init__(self) -> None:
        title = len(self.name) * _LETTER + 2 * _PAD
        self.width = max([title, *(row.width + 2 * _PAD for row in self.rows)])
        self.height = _LINE + sum(row.height + _GAP for row in self.rows)

    def draw(self, x: float, y: float, width: float, height: float, depth: int) -> list[str]:
        """Return the elements of this box, stretched to *width* and *height*."""
        fill = _FILLS[min(depth, len(_FILLS) - 1)]
        elements = [
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="5" fill="{fill}"/>',
            f'<text x="{x + _PAD:.0f}" y="{y + 17:.0f}">{escape(self.name)}</text>',
        ]
        below = y + _LINE
        for row in self.rows:
            elements += row.draw(x + _PAD, below, width - 2 * _PAD, depth + 1)
            below += row.height + _GAP
        return elements


@attrs.define
class Row:
    """One layer.

    Attributes:
        boxes: Its modules, side by side.
        strangers: Whether they may not import each other.
    """

    boxes: list[Box]
    strangers: bool

    @property
    def gap(self) -> float:
        return 3 * _GAP if self.strangers else _GAP / 2

    @property
    def width(self) -> float:
        return sum(box.width for box in self.boxes) + self.gap * (len(self.boxes) - 1)

    @property
    def height(self) -> float:
        return max(box.height for box in self.boxes)

    def draw(self, x: float, y: float, width: float, depth: int) -> list[str]:
        """Return the elements of all boxes, stretched so that they fill *width*."""
        more = (width - self.width) / sum(box.width for box in self.boxes)
        elements: list[str] = []
        for number, box in enumerate(self.boxes):
            if number and self.strangers:
                bar, end = f"{x - self.gap / 2:.0f}", f"{y + self.height:.0f}"
                elements.append(f'<line x1="{bar}" y1="{y:.0f}" x2="{bar}" y2="{end}" stroke-dasharray="3 3"/>')
            elements += box.draw(x, y, box.width * (1 + more), self.height, depth)
            x += box.width * (1 + more) + self.gap
        return elements


def contracts() -> list[dict[str, Any]]:
    """Return the import contracts, as ``pyproject.toml`` has them."""
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    found: list[dict[str, Any]] = settings["contracts"]
    return found


def drawn() -> str:
    """Return the picture as the contracts in ``pyproject.toml`` have it now."""
    layers = {
        container: contract["layers"]
        for contract in contracts()
        if contract["type"] == "layers"
        for container in contract["containers"]
    }
    box = _box(PACKAGE, layers)
    width, height = f"{box.width + 2 * _PAD:.0f}", f"{box.height + 2 * _PAD:.0f}"
    style = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12" stroke="#5b7db1"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" {style}>',
            "<title>The layers of ollama_push: every module may import those below it</title>",
            "<style>text { fill: #1c2b41; stroke: none; }</style>",
            f'<rect width="{width}" height="{height}" fill="#ffffff" stroke="none"/>',
            *box.draw(_PAD, _PAD, box.width, box.height, 0),
            "</svg>",
            "",
        ]
    )


def _box(module: str, layers: Mapping[str, Sequence[str]]) -> Box:
    rows = [_row(module, layer, layers) for layer in layers.get(module, ())]
    return Box(module.rpartition(".")[2], [row for row in rows if row.boxes])


def _row(container: str, layer: str, layers: Mapping[str, Sequence[str]]) -> Row:
    """Return one layer: ``"a | b"`` are strangers, ``"a : b"`` are not; ``"(a)"``, made by the build, is left out."""
    names = [name.strip() for name in layer.replace("|", ":").split(":")]
    modules = [f"{container}.{name}" for name in names if not name.startswith("(")]
    return Row([_box(module, layers) for module in modules], strangers="|" in layer)
