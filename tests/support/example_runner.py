"""Where examples run: an Ollama server that plays a whole push, a registry, and a store with one model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.stores import put_model

from ollama_push.testing.registry import EmbeddedRegistry
from ollama_push.testing.server import ScriptedServer, json_answer, lines_answer

TAGS = b'{"models":[{"name":"myuser/my-llama:latest","model":"myuser/my-llama:latest","size":250}]}'
PUSH = lines_answer(
    [
        b'{"status":"retrieving manifest"}',
        b'{"status":"pushing 3f2a9c11d0aa","digest":"sha256:3f2a9c11d0aa","total":250}',
        b'{"status":"pushing 3f2a9c11d0aa","digest":"sha256:3f2a9c11d0aa","total":250,"completed":250}',
        b'{"status":"pushing manifest"}',
        b'{"status":"success"}',
    ]
)
ANSWERS = {
    "/api/version": json_answer(b'{"version":"0.32.15"}'),
    "/api/tags": json_answer(TAGS),
    "/api/me": json_answer(b'{"name":"myuser"}'),
}
EXAMPLES = Path(__file__).parents[2] / "examples"
"""Some are copied beside a script."""
REGISTRY = "localhost:5000"
"""The registry of all examples; in a test it listens elsewhere, and that is all that is changed in them."""


def run_example(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *code* in a process of its own; in its output, the servers are where the examples say they are."""
    put_model(folder / "models")
    with ScriptedServer(PUSH, answers=ANSWERS) as server, EmbeddedRegistry(folder / "registry") as registry:
        elsewhere = f"localhost:{registry.host.partition(':')[2]}"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code.replace(REGISTRY, elsewhere)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=folder,
            env={
                **os.environ,
                "OLLAMA_HOST": server.url,
                "PYTHONPATH": str(EXAMPLES),
                "OLLAMA_MODELS": str(folder / "models"),
                "XDG_STATE_HOME": str(folder / "state"),
            },
            check=False,
        )
        done.stdout = done.stdout.replace(elsewhere, REGISTRY).replace(server.url, "http://127.0.0.1:11434")
        return done
