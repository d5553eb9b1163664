"""The mutants of a module: mutmut's operators, at every place of a module where they say something.

mutmut itself leaves out decorated functions, fields of classes and tables of modules, which are a third of what its
operators find in the core. Left out here, because no test could tell or none should:

- annotations, type aliases, imports, decorators, docstrings, ``__all__``, what is under ``TYPE_CHECKING``;
- the words of messages: strings in a ``raise``, all strings of ``core/messages.py``, and what has a blank in it among
  the members and fields of a class;
- assignments of None that happen at import, which mypy refuses;
- arguments of ``len`` and ``isinstance``, as mutmut does;
- all but one mutant of a string, and calls that lack a positional argument, which nearly always fail at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import libcst as cst
from libcst.metadata import MetadataWrapper, WhitespaceInclusivePositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_assignment

ROOT: Final = Path(__file__).parents[2]
CORE: Final = ROOT / "src" / "ollama_push" / "core"

_OPAQUE_CALLS: Final = ("len", "isinstance")
_WORDS: Final = ("core/messages.py",)


@attrs.frozen
class Mutant:
    """A module with one change.

    Attributes:
        path: The module, below the root of the repository.
        scope: The function or method, with the names of its classes; a class, or "module", outside of functions.
        line: What the changed line was, without indentation; lines are joined where several changed.
        becomes: What it is now.
        number: The number of the first changed line.
        lines: The numbers of the lines one of which is executed whenever what changed is.
        at_import: Whether it is executed when the module is imported: tables, fields and defaults of arguments.
        start: Where the change is, in characters.
        end: Where what was changed ended.
        text: What stands there now.
    """

    path: str
    scope: str
    line: str
    becomes: str
    number: int
    lines: range
    at_import: bool
    start: int
    end: int
    text: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it in the list of survivors; stays the same when lines move."""
        return self.path, self.scope, self.line, self.becomes

    def applied_to(self, source: str) -> str:
        """Return the *source* of the module with the change."""
        return source[: self.start] + self.text + source[self.end :]


def mutants_of(path: Path) -> list[Mutant]:
    """Return all mutants of the module, in the order of its lines."""
    source = path.read_text()
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    visitor = _Visitor(path.relative_to(ROOT).as_posix(), source, wrapper.module)
    wrapper.visit(visitor)
    return sorted(visitor.mutants, key=lambda mutant: mutant.number)


class _Visitor(cst.CSTVisitor):
    """Collects the mutants of a module."""

    METADATA_DEPENDENCIES = (WhitespaceInclusivePositionProvider,)

    def __init__(self, path: str, source: str, module: cst.Module) -> None:
        super().__init__()
        self.mutants: list[Mutant] = []
        self._path, self._source, self._module = path, source, module
        self._offsets = [0, *(found.end() for found in re.finditer("\n", source))]
        self._scope: list[str] = []
        self._functions = 0
        self._statements = [1]
        self._raising = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self._is_left_out(node):
            return False
        start, end = self._lines_of(node)
        for mutated in self._changed(node):
            self._add(node, mutated, range(self._statements[-1], end + 1))
        if isinstance(node, cst.BaseStatement):
            self._statements.append(start)
        match node:
            case cst.ClassDef():
                self._scope.append(node.name.value)
            case cst.FunctionDef():
                # Defaults belong to the module that is imported, the body to the call.
                node.params.visit(self)
                self._scope.append(node.name.value)
                self._functions += 1
                node.body.visit(self)
                return False
            case cst.Raise():
                self._raising += 1
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._is_left_out(original_node):
            return
        if isinstance(original_node, cst.BaseStatement) and len(self._statements) > 1:
            self._statements.pop()
        match original_node:
            case cst.ClassDef():
                self._scope.pop()
            case cst.FunctionDef():
                self._scope.pop()
                self._functions -= 1
            case cst.Raise():
                self._raising -= 1

    def _lines_of(self, node: cst.CSTNode) -> tuple[int, int]:
        position = self.get_metadata(WhitespaceInclusivePositionProvider, node, None)
        return (position.start.line, position.end.line) if position else (self._statements[-1],) * 2

    def _is_left_out(self, node: cst.CSTNode) -> bool:
        match node:
            case cst.Annotation() | cst.Decorator() | cst.Import() | cst.ImportFrom():
                return True
            case cst.Call(func=cst.Name(value=name)):
                return name in _OPAQUE_CALLS
            case cst.If(test=cst.Name(value="TYPE_CHECKING")):
                return True
            case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))], value=value):
                alias = not self._scope and isinstance(value, cst.Subscript | cst.BinaryOperation) and name[0].isupper()
                return name == "__all__" or (alias and not name.isupper())
            case cst.AnnAssign(target=cst.Name(value="__all__")):
                return True
            case cst.SimpleString(value=value):
                in_class = bool(self._scope) and not self._functions
                return bool(self._raising) or self._path.endswith(_WORDS) or (in_class and " " in value)
        return False

    def _changed(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        for kind, operator in mutation_operators:
            if not isinstance(node, kind) or (operator is operator_assignment and not self._functions):
                continue
            changed = [*operator(node)]
            if isinstance(node, cst.SimpleString):
                del changed[1:]
            yield from (each for each in changed if not _lacks_positional(node, each))

    def _add(self, node: cst.CSTNode, mutated: cst.CSTNode, lines: range) -> None:
        position = self.get_metadata(WhitespaceInclusivePositionProvider, node)
        start = self._offsets[position.start.line - 1] + position.start.column
        end = self._offsets[position.end.line - 1] + position.end.column
        if self._source[start:end] == self._module.code_for_node(node):
            text = self._module.code_for_node(mutated)
        else:
            # By itself, a node of several lines forgets its indentation. This way takes far longer.
            changed = self._module.deep_replace(node, mutated)
            assert isinstance(changed, cst.Module)
            start, end, text = _difference(self._source, changed.code)
        before, after, number = _changed_lines(self._source, start, end, text)
        self.mutants.append(
            Mutant(
                path=self._path,
                scope=".".join(self._scope) or "module",
                line=before,
                becomes=after,
                number=number,
                lines=lines,
                at_import=not self._functions,
                start=start,
                end=end,
                text=text,
            )
        )


def _lacks_positional(node: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    if not isinstance(node, cst.Call) or not isinstance(mutated, cst.Call) or len(node.args) == len(mutated.args):
        return False
    kept = [id(arg) for arg in mutated.args]
    return any(id(arg) not in kept and arg.keyword is None and not arg.star for arg in node.args)


def _difference(before: str, after: str) -> tuple[int, int, str]:
    """Return the span of *before* that differs, and what stands there in *after*."""
    start = next((at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), 0)
    common = 0
    longest = min(len(before), len(after)) - start
    while common < longest and before[-1 - common] == after[-1 - common]:
        common += 1
    return start, len(before) - common, after[start : len(after) - common]


def _changed_lines(source: str, start: int, end: int, text: str) -> tuple[str, str, int]:
    """Return the lines that change, what they become, and the number of the first."""
    first = source.rfind("\n", 0, start) + 1
    last = source.find("\n", end)
    before = source[first:last]
    after = source[first:start] + text + source[end:last]
    return (*_joined(*_without_equal(before.split("\n"), after.split("\n"))), source.count("\n", 0, start) + 1)


def _without_equal(before: Sequence[str], after: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    return before, after


def _joined(before: Sequence[str], after: Sequence[str]) -> tuple[str, str]:
    return " ".join(line.strip() for line in before), " ".join(line.strip() for line in after)
