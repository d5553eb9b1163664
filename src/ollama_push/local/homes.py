"""Finds the user's home directory in a given environment, as Go's ``os.UserHomeDir`` and docker do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["home_in"]


def home_in(environ: Mapping[str, str]) -> Path | None:
    """Return the home directory; ``None`` where there is none, as for an unknown uid in a container."""
    named = environ.get("HOME") or environ.get("USERPROFILE")
    if named:
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return None
