"""Drops reStructuredText roles (``:class:`` and others) from docstrings before they are rendered: Markdown has none.

An extension of griffe, and no hook of mkdocs: Zensical, which succeeds mkdocs-material, runs no hooks.
"""

from __future__ import annotations

import re
from typing import Any, Final

import griffe

__all__ = ["DocstringRoles"]

_ROLE: Final = re.compile(r"(?<!`):(?:mod|class|meth|func|attr|data|exc):(?=`)")


class DocstringRoles(griffe.Extension):
    """What griffe calls with each object that it has read."""

    def on_object(self, *, obj: griffe.Object, **_unused: Any) -> None:
        """Change the docstring in place."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub("", obj.docstring.value)
