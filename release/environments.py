"""An environment with a wheel, all its extras and nothing else, which the bill of materials and the audit read."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from release.facts import Project

__all__ = ["installed_wheel", "requirements_of_all"]

_PINNED_BY_NAME: Final = "ollama-push["


def requirements_of_all(project: Project) -> list[str]:
    """Return the requirements of an install with every extra, each once, without those by which extras name others."""
    extras = (needed for extra in project.extras.values() for needed in extra)
    return sorted({*project.dependencies, *(needed for needed in extras if not needed.startswith(_PINNED_BY_NAME))})


def installed_wheel(wheel: Path, folder: Path, project: Project) -> Path:
    """Install *wheel* with every extra into a new environment in *folder*, and return its Python.

    Packages come from the index that pip is set to. Neither pip nor setuptools are in the environment.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    what = f"{wheel}[{','.join(sorted(project.extras))}]"
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", what], check=True)
    return python
