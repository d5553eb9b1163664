"""The version comes from the file that the build made, and a tree that was never built has one, too."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from types import ModuleType

import pytest

from ollama_push.core import version

MADE = "ollama_push.core._version"


def loaded_again() -> ModuleType:
    """Run the module's file once more, as a module of its own."""
    spec = importlib.util.spec_from_file_location("version_again", version.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_build_wrote_is_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType(MADE)
    made.VERSION = "7.8.9"  # type: ignore[attr-defined] # a module of the test
    monkeypatch.setitem(sys.modules, MADE, made)
    again = loaded_again()
    assert (again.__version__, again.USER_AGENT) == ("7.8.9", "ollama-push/7.8.9")


def test_a_tree_that_was_never_built_is_older_than_every_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MADE, None)  # the import of it fails
    again = loaded_again()
    assert (again.__version__, again.USER_AGENT) == ("0.0.0", "ollama-push/0.0.0")


def test_the_version_may_stand_in_a_header() -> None:
    # RFC 9110, 10.1.5: a product and its version are tokens.
    assert re.fullmatch(r"ollama-push/[\w!#$%&'*+.^`|~-]+", version.USER_AGENT)


def test_reading_the_version_reads_no_metadata() -> None:
    code = "import ollama_push, sys; ollama_push.__version__; print('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
