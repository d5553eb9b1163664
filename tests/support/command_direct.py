"""The command against an embedded registry: what the tests of direct pushes share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
from tests.support.command import command, environment
from tests.support.stores import CONFIG, LAYERS, put_model

from ollama_push.testing.registry import Auth, EmbeddedRegistry, Fault

__all__ = ["PASSWORD", "SMALL_BYTES", "Home", "at_home"]

PASSWORD: Final = "correct-horse-battery"
_LOGIN: Final = ("OLLAMA_USERNAME", "OLLAMA_PASSWORD")
SMALL_BYTES: Final = sum(map(len, (*LAYERS, CONFIG)))


@attrs.frozen
class Home:
    """A machine with a store of one model, ``my-llama``, and a registry to push it to."""

    folder: Path
    registry: EmbeddedRegistry
    manifest: bytes

    @property
    def name(self) -> str:
        return f"{self.registry.host}/team/my-llama"

    @property
    def variables(self) -> dict[str, str]:
        """Nothing of this machine's own is read or written."""
        variables = environment(
            HOME=str(self.folder),
            DOCKER_CONFIG=str(self.folder / "docker"),
            XDG_STATE_HOME=str(self.folder / "state"),
            XDG_CONFIG_HOME=str(self.folder / "config"),
            XDG_RUNTIME_DIR=str(self.folder / "run"),
            REGISTRY_AUTH_FILE="",
            OLLAMA_MODELS=str(self.folder / "models"),
            OLLAMA_HOST="http://127.0.0.1:1",
        )
        return {name: value for name, value in variables.items() if name not in _LOGIN}

    def run(
        self, *arguments: str, typed: str = "", cwd: str | None = None, **changed: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            input=typed, capture_output=True, text=True, timeout=30, check=False, cwd=cwd,
            env={**self.variables, **changed},
        )  # fmt: skip

    def run_script(self, script: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run *script* by bash in the folder ``job``, until its first command that fails; ``ollama-push`` is ours."""
        folder, commands = self.folder / "job", self.folder / "bin"
        folder.mkdir(exist_ok=True)
        commands.mkdir(exist_ok=True)
        program = commands / "ollama-push"
        program.write_text(f'#!/bin/sh\nexec {" ".join(command())} "$@"\n')
        program.chmod(0o755)
        bash = shutil.which("bash")
        assert bash is not None
        return subprocess.run(
            [bash, "-e", "-c", script],
            cwd=folder, capture_output=True, text=True, timeout=120, check=False,
            env={**self.variables, "PATH": f"{commands}:{os.environ['PATH']}", **changed},
        )  # fmt: skip

    def direct(self, verb: str, *more: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run ``push`` or ``check`` of the model straight to the registry."""
        return self.run(verb, self.name, *self.options, *more, **changed)

    @property
    def options(self) -> tuple[str, ...]:
        return ("--direct", "--plain-http", "--from", "my-llama", "--retries", "0")

    def running(self, *more: str) -> subprocess.Popen[str]:
        """Start a push straight to the registry; use it as a context manager."""
        return subprocess.Popen(
            command("push", self.name, *self.options, *more),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.variables,
        )  # fmt: skip

    def pushed(self, name: str = "team/my-llama") -> bool:
        return self.registry.manifest(name, "latest") == self.manifest


@contextmanager
def at_home(
    folder: Path, *, auth: Auth | None = None, faults: Iterable[Fault] = (), large_bytes: int = 0
) -> Iterator[Home]:
    """Yield such a machine; with *large_bytes* the model has one layer of that size more."""
    layers = (os.urandom(large_bytes), *LAYERS) if large_bytes else LAYERS
    manifest = put_model(folder / "models", layers=layers)
    with EmbeddedRegistry(folder / "data", auth=auth, faults=faults) as registry:
        yield Home(folder, registry, manifest)
