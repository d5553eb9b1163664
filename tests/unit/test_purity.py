"""The core decides from its arguments alone: it runs where files, sockets, clocks and chance are out of reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.support.guarded_core import IMPURITIES

pytestmark = pytest.mark.process

_SCRIPT: Final = Path(__file__).parents[1] / "support" / "guarded_core.py"


def _run(what: str) -> subprocess.CompletedProcess[str]:
    # An empty environment: neither coverage nor anything else is started beside the core.
    return subprocess.run([sys.executable, "-I", _SCRIPT, what], env={}, capture_output=True, text=True, check=False)


def test_the_core_is_pure() -> None:
    done = _run("core")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("impurity", IMPURITIES)
def test_the_guard_fires(impurity: str) -> None:
    done = _run(impurity)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(("Impure: ", "__main__.Impure: ")), done.stderr
