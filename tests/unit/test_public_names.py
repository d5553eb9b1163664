"""What the package exports and documents, each name from one home, and what importing it loads."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import ollama_push
from ollama_push import client, gateway, transports
from ollama_push.contrib import logs, metrics, progress, tracing

HEAVY = ("aiohttp", "asyncio", "urllib3")
ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src"
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
DOCUMENTED: Final = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "reference.md").read_text("utf-8"), re.MULTILINE)


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def defined_names(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def public_definitions() -> dict[str, list[str]]:
    """Return, for every name in an ``__all__``, the modules that define it and offer it."""
    found = defaultdict(list)
    for file in sorted(SOURCE.rglob("*.py")):
        if file.name == "__main__.py":
            continue  # nobody imports it
        tree = ast.parse(file.read_text("utf-8"))
        defined = {name for node in tree.body for name in defined_names(node)}
        offered = (
            set(getattr(importlib.import_module(module_name(file)), "__all__", ())) if "__all__" in defined else ()
        )
        for name in defined.intersection(offered):
            found[name].append(module_name(file))
    return found


def imported_by_pages() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for code in re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "ollama_push":
                    yield from ((str(node.module), alias.name) for alias in node.names)


def documented_objects() -> list[object]:
    """Return what the reference shows: objects, and everything public of the modules among them."""
    found: list[object] = []
    for path in DOCUMENTED:
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError:
            parent, _, name = path.rpartition(".")
            found.append(getattr(importlib.import_module(parent), name))
        else:
            found += [module, *(getattr(module, name) for name in module.__all__)]
    return found


def loaded_by(code: str) -> set[str]:
    report = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(eval(done.stdout))  # our own list, printed a line above


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import ollama_push", set()),
        ("from ollama_push import PushClient", set()),
        ("from ollama_push import PushClient; PushClient()", {"urllib3"}),
        ("from ollama_push import AsyncPushClient", {"asyncio"}),
        ("from ollama_push import Urllib3Transport", {"urllib3"}),
        ("from ollama_push.contrib.logs import LogHook", set()),
        ("from ollama_push.contrib.progress import ProgressCallback", set()),
        ("import ollama_push.cli.app", set()),
    ],
)
def test_only_what_is_used_is_loaded(code: str, expected: set[str]) -> None:
    assert loaded_by(code) == expected


@pytest.mark.parametrize("module", [ollama_push, client, transports, metrics, progress])
def test_every_public_name_is_there_once(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]  # each of them has one
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = module.Nonsense  # type: ignore[attr-defined]  # that is the point


def test_dir_lists_the_public_names() -> None:
    assert set(ollama_push.__all__) <= set(dir(ollama_push))


def test_no_public_name_is_defined_twice() -> None:
    assert {name: modules for name, modules in public_definitions().items() if len(modules) > 1} == {}


def test_the_reference_has_every_name_that_a_page_imports() -> None:
    documented = documented_objects()
    shown = {(module, name): getattr(importlib.import_module(module), name) for module, name in imported_by_pages()}
    assert len(shown) > 30
    assert sorted(place for place, one in shown.items() if not any(one is each for each in documented)) == []


@pytest.mark.parametrize("module", [ollama_push, client, transports, gateway, logs, metrics, progress, tracing])
def test_the_reference_has_every_name_of_the_packages_that_users_import(module: object) -> None:
    documented = documented_objects()
    names: list[str] = module.__all__  # type: ignore[attr-defined]  # each of them has one
    missing = [name for name in names if not any(getattr(module, name) is each for each in documented)]
    assert set(missing) <= {"__version__"}
