"""No module of the package needs itself: imports between modules form no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import ollama_push

_ROOT = Path(ollama_push.__file__).parent


def _name_of(path: Path) -> str:
    parts = ("ollama_push", *path.relative_to(_ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


_FILES = {_name_of(path): path for path in _ROOT.rglob("*.py")}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _import_nodes(node: ast.AST, *, lazy_package: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield every import below *node*, inside functions too.

    A package that loads its names on first use repeats them for type checkers. Those imports are skipped
    with *lazy_package*; everywhere else an import for types is a dependency like any other.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (lazy_package and _is_type_checking(child)):
            yield from _import_nodes(child, lazy_package=lazy_package)


def _imports_of(source: str, files: Mapping[str, object], *, lazy_package: bool = False) -> set[str]:
    """Return the modules in *files* that *source* imports."""
    named: set[str] = set()
    for node in _import_nodes(ast.parse(source), lazy_package=lazy_package):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
            continue
        assert node.level == 0, f"relative import of {node.module}: write the whole name"
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            named.add(submodule if submodule in files else str(node.module))
    return named & set(files)


def _circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other, each sorted."""
    reach = {module: set(direct) for module, direct in imports.items()}
    # Warshall's closure: afterwards a module in its own set is on a circle.
    for middle, behind in reach.items():
        for reached in reach.values():
            if middle in reached:
                reached.update(behind)
    groups = {tuple(sorted(other for other in reach[module] if module in reach[other])) for module in reach}
    return sorted(list(group) for group in groups if group)


def test_modules_do_not_import_each_other_in_circles() -> None:
    imports = {
        module: _imports_of(path.read_text("utf-8"), _FILES, lazy_package=path.name == "__init__.py")
        for module, path in _FILES.items()
    }
    circles = _circles(imports)
    assert not circles, "modules that import each other:\n" + "\n".join(" ".join(circle) for circle in circles)


def test_a_circle_is_seen_whatever_hides_it() -> None:
    sources = {
        "p.a": "from p import b",
        "p.b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.c import C",
        "p.c": "def f():\n    import p.a",
        "p.d": "from p.a import A",
    }
    imports = {module: _imports_of(source, sources) for module, source in sources.items()}
    assert _circles(imports) == [["p.a", "p.b", "p.c"]]


def test_the_names_of_a_lazy_package_for_type_checkers_are_no_imports() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.c import C\nfrom p.d import D"
    assert _imports_of(source, {"p.c": 0, "p.d": 0}, lazy_package=True) == {"p.d"}
