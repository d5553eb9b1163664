"""What mypy says of a mutant: most None in the place of a value cannot be merged, whatever tests say."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mypy import api
from tests.mutants.mutations import ROOT, Mutant

_PACKAGE: Final = Path("src", "ollama_push")


class TypeChecker:
    """A mypy that has read the core, and reads one changed module after the other in a copy of it.

    Use as a context manager: it is a process of its own.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._status = str(self._folder / "status.json")

    def __enter__(self) -> Self:
        copy = self._folder / _PACKAGE
        shutil.copytree(ROOT / _PACKAGE / "core", copy / "core")
        for name in ("__init__.py", "_exports.py", "py.typed"):
            shutil.copy(ROOT / _PACKAGE / name, copy)
        (self._folder / "mypy.ini").write_text(
            f"[mypy]\nstrict = true\nexplicit_package_bases = true\nmypy_path = {copy.parent}\n"
            f"cache_dir = {self._folder / 'cache'}\n"
        )
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("stop")
        shutil.rmtree(self._folder)

    def refuses(self, mutant: Mutant) -> bool:
        """Say whether the mutant has an error of types."""
        original = (ROOT / mutant.path).read_text()
        file = self._folder / mutant.path
        file.write_text(mutant.applied_to(original))
        words, problems, code = self._call("recheck")
        file.write_text(original)
        if code not in (0, 1):
            raise RuntimeError(f"mypy ended with {words}{problems}")
        # Now and then the daemon of mypy 2.4 keeps an error of what a module was before; one more change helps.
        while self._call("recheck")[2]:
            file.write_text(f"{original}\n")
            self._call("recheck")
            file.write_text(original)
        return code == 1

    def _start(self) -> None:
        config, core = self._folder / "mypy.ini", self._folder / _PACKAGE / "core"
        words, problems, code = self._call("run", "--", f"--config-file={config}", str(core))
        if code:
            raise RuntimeError(f"without a mutant, mypy finds: {words}{problems}")

    def _call(self, *arguments: str) -> tuple[str, str, int]:
        return api.run_dmypy(["--status-file", self._status, *arguments])
