"""Texts that name an option or the command belong to the command, and to the gateway, whose operator runs it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

SOURCE: Final = Path(__file__).parents[2] / "src" / "ollama_push"
ROOMS: Final = ("client", "contrib", "core", "fleet", "local", "transports")
COMMAND: Final = re.compile(r"(?<![\w-])--[a-z]|\bollama-push [a-z]|\bollama (?:serve|signin|list)\b")


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the strings that are used: docstrings, and strings that stand alone, are for readers of the code."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


@pytest.mark.parametrize("room", ROOMS)
def test_only_the_command_names_its_options(room: str) -> None:
    found = {
        f"{file.relative_to(SOURCE)}: {text}"
        for file in (SOURCE / room).rglob("*.py")
        for text in texts(ast.parse(file.read_text("utf-8")))
        if COMMAND.search(text)
    }
    assert sorted(found) == []
