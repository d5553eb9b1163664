"""The version, and the name in requests.

The build writes the version that it found, by tag or by what the archive says, into ``_version.py`` beside this file. A
tree that was never built, and is only on the path, has no such file.
"""

from typing import Final

try:
    from ollama_push.core._version import VERSION as _VERSION  # type: ignore[import-not-found, unused-ignore]
except ModuleNotFoundError:
    _VERSION = "0.0.0"

__all__ = ["USER_AGENT", "__version__"]

__version__: Final[str] = _VERSION

USER_AGENT: Final = f"ollama-push/{__version__}"
