"""The version, and the name in requests.

The build writes the version that it found, by tag or by what the archive says, into ``_version.py`` beside this file. A
tree that was never built, and is only on the path, has no such file.
"""

from importlib import import_module
from typing import Final

__all__ = ["USER_AGENT", "__version__"]


def _built_version() -> str:
    try:
        # By name: what reads our imports without running them would find no such file in a tree that was never built.
        made = import_module("ollama_push.core._version")
    except ModuleNotFoundError:
        return "0.0.0"
    version: str = made.VERSION
    return version


__version__: Final = _built_version()

USER_AGENT: Final = f"ollama-push/{__version__}"
