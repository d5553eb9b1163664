"""Nothing here is collected without mutmut: the lowest versions are tested without it, because it needs newer ones."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("mutmut") and find_spec("mypy") else ["*.py"]
