"""The command as a real process against a scripted server: what its tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from ollama_push.testing.server import Script, ScriptedServer, json_answer, lines_answer

__all__ = [
    "HERE",
    "LAYER",
    "NAME",
    "OTHER",
    "REFUSED",
    "SUCCESS",
    "command",
    "environment",
    "push",
    "run",
    "running",
    "without_coverage",
]

NAME: Final = "localhost:5000/a/b"
OTHER: Final = "localhost:5000/a/c"
LAYER: Final = b'{"status":"pushing 49a7f1752a33","digest":"sha256:49a7","total":100,"completed":%d}'
SUCCESS: Final = lines_answer([LAYER % 40, LAYER % 100, b'{"status":"success"}'])
REFUSED: Final = lines_answer([b'{"error":"unauthorized: access denied"}'])
HERE: Final[Mapping[str, Script]] = {
    "/api/version": json_answer(b'{"version":"0.32.15"}'),
    "/api/tags": json_answer(
        b'{"models":[{"name":"localhost:5000/a/b:latest","size":100},{"name":"localhost:5000/a/c:latest","size":100}]}'
    ),
}


def command(*arguments: str) -> list[str]:
    """Return the command line; a warning is an error there."""
    return [sys.executable, "-W", "error", "-m", "ollama_push.cli", *arguments]


def environment(**changed: str) -> dict[str, str]:
    """Return what ``conftest.py`` left of the environment, which is nothing that the command reads, plus *changed*."""
    return {**os.environ, **changed}


def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=30, check=False, env=environment(**changed)
    )


def push(script: Script, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Push ``NAME`` once against *script*."""
    with ScriptedServer(script, answers=HERE) as server:
        return run("push", NAME, "--host", server.url, "--retries", "0", *arguments, **changed)


def running(*arguments: str, **changed: str) -> subprocess.Popen[str]:
    """Start the command; use it as a context manager."""
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**changed)
    )


def without_coverage(variables: Mapping[str, str]) -> dict[str, str]:
    """Return *variables* for a process that is not measured: one on a full disk could not write what was measured."""
    return {name: value for name, value in variables.items() if not name.startswith("COVERAGE_")}
