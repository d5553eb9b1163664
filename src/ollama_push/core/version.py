"""The version: read by the build, the ``User-Agent`` header and ``ollama_push.__version__``."""

__all__ = ["__version__"]

__version__ = "0.1.0"
