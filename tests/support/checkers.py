"""Checkers of others for workflows, scripts, recipes and images, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PLACES: Final = os.pathsep.join(
    [
        str(Path(sys.executable).parent),
        str(ROOT / ".venv" / "go" / "bin"),
        # The packages of a virtual environment may be those of another one behind it.
        *(str(Path(place).parents[2] / "bin") for place in sys.path if Path(place).name == "site-packages"),
        os.environ.get("PATH", ""),
    ]
)


def needs(program: str, where: str) -> pytest.MarkDecorator:
    """Skip the test without *program*, which comes from *where*."""
    return pytest.mark.skipif(
        shutil.which(program, path=PLACES) is None, reason=f"{program} is not installed: it comes from {where}"
    )


def complaints(*command: str) -> str:
    """Return what the program *command* says about our files; nothing when it accepts them."""
    program = shutil.which(command[0], path=PLACES)
    assert program is not None
    done = subprocess.run(
        [program, *command[1:]],
        cwd=ROOT,
        env={"PATH": PLACES, "HOME": os.environ.get("HOME", "/"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.stdout}{done.stderr}".strip() if done.returncode else ""
