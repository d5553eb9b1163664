"""Finds the home directory that an environment names, as Go's ``os.UserHomeDir`` and docker do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["home_in"]


def home_in(environ: Mapping[str, str]) -> Path | None:
    """Return the home directory; ``None`` if there is none, such as for an unknown user ID in a container."""
    named = environ.get("HOME") or environ.get("USERPROFILE")
    if named:
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return None
