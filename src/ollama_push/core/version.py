"""The version, and the name in requests; the build and ``ollama_push.__version__`` read it."""

from typing import Final

__all__ = ["USER_AGENT", "__version__"]

__version__ = "0.1.0"

USER_AGENT: Final = f"ollama-push/{__version__}"
