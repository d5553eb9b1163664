"""Prometheus's own checker, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

import pytest

__all__ = ["needs_promtool", "promtool"]

_PROGRAM: Final = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(_PROGRAM is None, reason="promtool is not installed: apt-get install prometheus")


def promtool(*arguments: str, text: str = "") -> str:
    """Return everything promtool says to *arguments* with *text* as its input; its exit status must be 0."""
    assert _PROGRAM is not None
    done = subprocess.run([_PROGRAM, *arguments], input=text, capture_output=True, text=True, timeout=30, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
