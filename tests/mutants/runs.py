"""Runs of the core's tests in this process: under coverage, and once a mutant in a forked copy of it.

Starting an interpreter and collecting 3,000 tests takes a hundred times as long as the few that touch a line. So all
are collected once, and each mutant gets a fork in which its code takes the place of the function's. What is computed
at import (tables, fields, defaults) cannot be exchanged that way: such a mutant gets a fork of a process that has
imported only libraries, and imports the package anew.
"""

from __future__ import annotations

import enum
import gc
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from itertools import accumulate
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Final

import attrs
import coverage
import pytest
from tests.mutants.mutations import ROOT, Mutant

TESTS: Final = ("tests/unit/core", "src/ollama_push/core")

# No plugins that start processes or draw lots, nothing kept on disk, and no time spent on showing failures.
_OPTIONS: Final = (
    "--override-ini=addopts=",
    "--import-mode=importlib",
    "--doctest-modules",
    "--strict-markers",
    "-q",
    "--capture=sys",
    "--assert=plain",
    "--tb=no",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "-p",
    "no:xdist",
    "-p",
    "no:unraisableexception",
)
# Told the index of a mutant, and how it ended.
Tell = Callable[[int, str], None]

_MIB: Final = 1 << 20
_MEMORY: Final = 4096 * _MIB
_FIRST_SECONDS: Final = 0.3
_FEW: Final = 50


class Part(enum.Enum):
    """Which of the tests that touch a mutant: the first kill most, and mypy looks at it before the rest run."""

    FIRST = enum.auto()
    REST = enum.auto()


@attrs.frozen
class Pool:
    """How many processes run at a time, and the time of the system's clock after which none is started."""

    jobs: int
    until: float


@attrs.frozen
class Touched:
    """Which tests execute a line, and how long each takes in seconds.

    ``at_import`` has the lines that are executed while modules and tests are imported.
    """

    tests: Mapping[str, Mapping[int, Sequence[str]]]
    at_import: Mapping[str, frozenset[int]]
    seconds: Mapping[str, float]

    def by(self, mutant: Mutant, part: Part) -> list[str]:
        """Return the tests that touch the mutant, those first that are quick and of its own module.

        For what is computed at import these are the tests that touch the module, or all if few do: such as hold only
        tables and values.
        """
        lines = self.tests.get(mutant.path, {})
        own = Path(mutant.path).stem
        if mutant.at_import:
            found = {test for tests in lines.values() for test in tests}
            # A test of a default may execute no line of the module.
            found |= {test for test in self.seconds if own in _file_of(test)}
            chosen = found if len(found) > _FEW else self.seconds.keys()
            files = Counter(_file_of(test) for test in chosen)
            ordered = sorted(chosen, key=lambda test: (own not in _file_of(test), -files[_file_of(test)], test))
            # Other files need not even be collected.
            first = sum(own in _file_of(test) for test in ordered)
        else:
            chosen = {test for number in mutant.lines for test in lines.get(number, ())}
            ordered = sorted(chosen, key=lambda test: (own not in _file_of(test), self.seconds[test], test))
            first = sum(spent <= _FIRST_SECONDS for spent in accumulate(self.seconds[test] for test in ordered))
        return ordered[:first] if part is Part.FIRST else ordered[first:]

    def is_executed_at_import(self, mutant: Mutant) -> bool:
        return mutant.at_import or not self.at_import[mutant.path].isdisjoint(mutant.lines)


class _Recorder:
    """Plugin: runs every test in a context of its own."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        begun = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - begun
            self._measured.switch_context("")


def touched(data_file: Path) -> Touched:
    """Run all tests of the core in a process of its own, and return what each of them executes."""
    child = os.fork()
    if not child:
        _quietly(lambda: _record(data_file))
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"without a mutant, the tests of the core fail; run: pytest {' '.join(TESTS)}")
    data = coverage.CoverageData(str(data_file))
    data.read()
    tests: dict[str, dict[int, list[str]]] = {}
    at_import: dict[str, frozenset[int]] = defaultdict(frozenset)
    for file in data.measured_files():
        path = Path(file).relative_to(ROOT).as_posix()
        contexts = data.contexts_by_lineno(file)
        tests[path] = {line: [each for each in found if each] for line, found in contexts.items()}
        at_import[path] = frozenset(line for line, found in contexts.items() if "" in found)
    return Touched(tests, at_import, json.loads(data_file.with_suffix(".json").read_text()))


def _record(data_file: Path) -> int:
    measured = coverage.Coverage(str(data_file), config_file=False, source_pkgs=["ollama_push.core"], branch=False)
    recorder = _Recorder(measured)
    measured.start()
    code = pytest.main([*_OPTIONS, *TESTS], plugins=[recorder, _Steady()])
    measured.stop()
    measured.save()
    data_file.with_suffix(".json").write_text(json.dumps(recorder.seconds))
    return code


class _Steady:
    """Plugin: hypothesis tries the same examples each time, however slow the machine is, and does not shrink them."""

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings  # noqa: PLC0415  # its plugin has to be loaded before

        settings.register_profile(
            "mutants", database=None, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
        )
        settings.load_profile("mutants")


class _Loop:
    """Plugin: instead of running all tests once, runs those that touch a mutant, for each of many."""

    def __init__(
        self, each: Sequence[tuple[Mutant, list[str]]], limits: Sequence[float], pool: Pool, told: int
    ) -> None:
        self._each, self._limits, self._pool, self._told = each, limits, pool, told

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions: dict[str, list[FunctionType]] = defaultdict(list)
        for each in gc.get_objects():
            if isinstance(each, FunctionType):
                functions[each.__code__.co_filename].append(each)
        gc.freeze()

        def run(mutant: Mutant, tests: Sequence[str]) -> int:
            file = ROOT / mutant.path
            _exchange(functions[str(file)], compile(mutant.applied_to(file.read_text()), str(file), "exec"))
            return _fails(session, [items[test] for test in tests])

        calls = [partial(run, mutant, tests) for mutant, tests in self._each]
        _in_forks(calls, self._limits, self._pool, self._told)
        return True


def _fails(session: pytest.Session, items: Sequence[pytest.Item]) -> int:
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _exchange(functions: Sequence[FunctionType], module: CodeType) -> None:
    """Give functions the code of the same place in the mutated module."""
    codes: dict[tuple[str, int], list[CodeType]] = defaultdict(list)

    def collect(code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                codes[constant.co_qualname, constant.co_firstlineno].append(constant)
                collect(constant)

    collect(module)
    for function in functions:
        old = function.__code__
        found = codes[old.co_qualname, old.co_firstlineno]
        if len(found) == 1 and found[0].co_freevars == old.co_freevars:
            function.__code__ = found[0]


def run_in_place(mutants: Sequence[Mutant], tests: Touched, part: Part, pool: Pool, tell: Tell) -> None:
    """Run tests that touch each mutant, with the function exchanged; tell its index and "killed" or "survived"."""
    each = [(mutant, tests.by(mutant, part)) for mutant in mutants]
    limits = [2 + 4 * sum(tests.seconds[test] for test in chosen) for _, chosen in each]

    def loop(told: int) -> int:
        return pytest.main([*_OPTIONS, *TESTS], plugins=[_Loop(each, limits, pool, told), _Steady()])

    _listen(loop, tell)


def run_imported(mutants: Sequence[Mutant], tests: Touched, part: Part, pool: Pool, tell: Tell) -> None:
    """The same with the mutated module imported anew, and only the files collected that have chosen tests."""
    _preload()
    gc.freeze()
    each = [(mutant, tests.by(mutant, part)) for mutant in mutants]
    limits = [20 + 4 * sum(tests.seconds[test] for test in chosen) for _, chosen in each]
    calls = [partial(_import_and_run, mutant, chosen) for mutant, chosen in each]
    _listen(lambda told: _in_forks(calls, limits, pool, told), tell)


def _import_and_run(mutant: Mutant, chosen: Sequence[str]) -> int:
    if not chosen:
        return 0
    sys.meta_path.insert(0, _Finder(mutant))
    # Plugins of other packages take longer to find than most tests to run.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    files = dict.fromkeys(map(_file_of, chosen))
    return pytest.main([*_OPTIONS, "-x", *files], plugins=[_Chosen(frozenset(chosen)), _Steady()])


def _file_of(test: str) -> str:
    return test.partition("::")[0]


class _Chosen:
    """Plugin: runs some of the collected tests."""

    def __init__(self, chosen: frozenset[str]) -> None:
        self._chosen = chosen

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._chosen]


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the mutated module in the place of the one on disk."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant, self._file = mutant, ROOT / mutant.path
        self._name = ".".join(Path(mutant.path).with_suffix("").parts[1:]).removesuffix(".__init__")

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        is_package = self._file.name == "__init__.py"
        return importlib.util.spec_from_file_location(
            fullname,
            self._file,
            loader=self,
            submodule_search_locations=[str(self._file.parent)] if is_package else None,
        )

    def get_source(self, fullname: str) -> str:
        return self._mutant.applied_to(self._file.read_text())

    def get_filename(self, fullname: str) -> str:
        return str(self._file)


def _preload() -> None:
    """Import the libraries of the core and its tests, which every fork would import again, and nothing of ours."""
    import _pytest.junitxml  # noqa: PLC0415
    import _pytest.pytester  # noqa: F401, PLC0415
    import cattrs  # noqa: F401, PLC0415
    import hypothesis.strategies  # noqa: F401, PLC0415
    import yarl  # noqa: F401, PLC0415


def _in_forks(calls: Sequence[Callable[[], int]], limits: Sequence[float], pool: Pool, told: int) -> int:
    """Make each call in a fork, and write its index and how it ended to *told*.

    A mutant that runs in circles is stopped after so much time of the processor, not of a clock, which other work on
    the machine would move; or after five minutes in which it does not even use the processor.
    """
    running: dict[int, int] = {}
    waiting = enumerate(zip(calls, limits, strict=True))
    while True:
        while len(running) < pool.jobs and time.time() < pool.until and (following := next(waiting, None)) is not None:
            index, (call, limit) = following
            child = os.fork()
            if not child:
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
                resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1,) * 2)
                signal.alarm(300)
                _quietly(call)
            running[child] = index
        if not running:
            return 0
        child, status = os.wait()
        ended = "killed" if status else "survived"
        os.write(told, f"{running.pop(child)} {ended}\n".encode())


def _quietly(call: Callable[[], int]) -> None:
    """End this process with what *call* returns, and 2 for whatever it raises; nothing is printed."""
    code = 2
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = call()
    finally:
        os._exit(code)


def _listen(run: Callable[[int], int], tell: Tell) -> None:
    """Call *run* in a fork with a pipe, and tell each line that it writes there."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _quietly(lambda: run(writing))
    os.close(writing)
    with open(reading) as lines:  # noqa: PTH123  # a pipe
        for line in lines:
            index, ended = line.split()
            tell(int(index), ended)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the tests could not be collected")
