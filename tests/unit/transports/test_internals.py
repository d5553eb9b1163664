"""Undocumented parts of urllib3, http.client and aiohttp are used in one file for each library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_push import transports

FOLDER = Path(transports.__path__[0])
INTERNALS = {"_urllib3_internals.py", "_aiohttp_internals.py"}
FILES = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in INTERNALS)

# Undocumented attributes whose names do not begin with an underscore.
UNDOCUMENTED = {
    # http.client
    "chunked", "fp", "response_class", "sock",
    # urllib3
    "ConnectionCls", "pool_classes_by_scheme", "socket_options",
    # aiohttp
    "is_eof", "protocol", "set_exception", "writer",
}  # fmt: skip
# Classes of these modules are extended only by who knows their inner parts.
EXTENDED = {"urllib3", "aiohttp", "http"}


def uses(tree: ast.AST) -> Iterator[str]:
    """Yield each use of an undocumented part."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if _is_undocumented(name):
                yield f"line {node.lineno}: .{name}"
            case ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[_, ast.Constant(value=str(name)), *_]):
                if _is_undocumented(name):
                    yield f"line {node.lineno}: {name!r}"
            case ast.ClassDef(bases=bases):
                for base in bases:
                    if ast.unparse(base).partition(".")[0] in EXTENDED:
                        yield f"line {node.lineno}: {ast.unparse(base)} is extended"
            case _:
                pass


def _is_undocumented(name: str) -> bool:
    return name in UNDOCUMENTED or (name.startswith("_") and not name.startswith("__"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_uses_no_undocumented_part_of_a_library(name: str) -> None:
    assert list(uses(ast.parse((FOLDER / name).read_text()))) == []


@pytest.mark.parametrize("name", sorted(INTERNALS))
def test_the_files_for_undocumented_parts_name_the_versions_they_were_tested_on(name: str) -> None:
    tree = ast.parse((FOLDER / name).read_text())
    assert list(uses(tree))
    assert "Tested with " in (ast.get_docstring(tree) or "")


@pytest.mark.parametrize(
    "source",
    [
        "response._fp.read1(1)",
        "raw.fp",
        "getattr(raw, 'chunked', False)",
        "class Mine(http.client.HTTPResponse): ...",
        "class Mine(aiohttp.Payload): ...",
        "session._retry_connection = False",
    ],
)
def test_each_kind_of_use_is_found(source: str) -> None:
    assert len(list(uses(ast.parse(source)))) == 1


@pytest.mark.parametrize("source", ["self._raw.status", "cls._name", "module.__path__", "raw.headers"])
def test_our_own_private_parts_are_no_use(source: str) -> None:
    assert list(uses(ast.parse(source))) == []
